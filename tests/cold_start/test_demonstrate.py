"""Demonstrations: what is played, what is written, and what each protocol refuses."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from declutch.cold_start.demonstrate import write_demonstrations
from declutch.cold_start.demonstrations import check_protocol, read_demonstrations
from declutch.envs.alfworld.levels import HELD_OUT_KINDS, TRAINED_KINDS
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.households.generate import HouseholdCounts, ensure_households
from declutch.errors import UserError
from declutch.evaluation.expert import expert_table

HELD_OUT = HELD_OUT_KINDS


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> AlfworldSuite:
    counts = HouseholdCounts(train=36, valid_seen=12, valid_unseen=6)
    folder = ensure_households(tmp_path_factory.mktemp("games"), 2, counts)
    return AlfworldSuite(folder, "households")


@pytest.fixture(scope="module")
def strict_file(suite: AlfworldSuite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demonstrations") / "strict.jsonl"
    write_demonstrations(suite, path, 40, "strict", HELD_OUT, seed=5)
    return path


def test_the_same_seed_gives_the_same_bytes_and_another_others(
    suite: AlfworldSuite, strict_file: Path, tmp_path: Path
) -> None:
    for seed in (5, 6):
        write_demonstrations(suite, tmp_path / f"{seed}.jsonl", 40, "strict", HELD_OUT, seed=seed)
    assert (tmp_path / "5.jsonl").read_bytes() == strict_file.read_bytes()
    assert (tmp_path / "6.jsonl").read_bytes() != strict_file.read_bytes()


def test_what_is_written_is_read(suite: AlfworldSuite, tmp_path: Path) -> None:
    path, told = tmp_path / "demonstrations.jsonl", []
    written = write_demonstrations(
        suite, path, 7, "strict", HELD_OUT, progress=lambda done, all_: told.append((done, all_))
    )
    header, episodes = read_demonstrations(path)
    assert header == written
    assert told == [(number, 7) for number in range(1, 8)]
    assert [path.name] == [each.name for each in tmp_path.iterdir()]
    assert header.num_steps == sum(len(episode.steps) for episode in episodes)
    assert header.num_won == sum(episode.won for episode in episodes)
    assert header.kinds == Counter(episode.task.kind for episode in episodes)
    assert json.loads(path.read_text().splitlines()[0])["protocol"] == "strict"


def test_strict_draws_from_all_trained_kinds_and_no_other(strict_file: Path) -> None:
    header, _ = read_demonstrations(strict_file)
    assert set(header.kinds) == set(TRAINED_KINDS)
    # 40 of 24 games: each once or twice.
    _, episodes = read_demonstrations(strict_file)
    assert set(Counter(e.task.name for e in episodes).values()) == {1, 2}


def test_replaying_the_actions_shows_the_same_texts_and_labels(
    suite: AlfworldSuite, strict_file: Path
) -> None:
    _, episodes = read_demonstrations(strict_file)
    env = suite.make_env()
    for episode in episodes:
        observation, won = env.reset(episode.task), False
        for step in episode.steps:
            assert (observation.text, observation.admissible, observation.inventory) == (
                step.observation,
                step.admissible,
                step.inventory,
            )
            assert env.label_action(step.expert_action) == step.label_expert
            if step.other_action is not None:
                assert env.label_action(step.other_action) == step.label_other
            transition = env.step(step.action)
            observation, won = transition.observation, transition.is_won
        assert (observation.text, won) == (episode.final_observation, episode.won)


def test_perturbed_steps_play_something_else_and_keep_the_experts_target(
    strict_file: Path,
) -> None:
    _, episodes = read_demonstrations(strict_file)
    steps = [step for episode in episodes for step in episode.steps]
    assert all((step.action != step.expert_action) == step.is_perturbed for step in steps)
    assert all(step.expert_action in step.admissible for step in steps)
    share = sum(step.is_perturbed for step in steps) / len(steps)
    assert 0.12 < share < 0.28


def test_without_perturbation_every_step_is_the_experts(
    suite: AlfworldSuite, tmp_path: Path
) -> None:
    path = tmp_path / "pure.jsonl"
    header = write_demonstrations(suite, path, 24, "strict", HELD_OUT, perturb=0.0, max_steps=50)
    _, episodes = read_demonstrations(path)
    assert not any(step.is_perturbed for episode in episodes for step in episode.steps)
    assert header.num_won == 24


def test_every_step_has_another_command_with_its_label(strict_file: Path) -> None:
    _, episodes = read_demonstrations(strict_file)
    steps = [step for episode in episodes for step in episode.steps]
    for step in steps:
        assert step.other_action in step.admissible
        assert step.other_action != step.expert_action
        assert step.action == (step.other_action if step.is_perturbed else step.expert_action)
    assert sum(step.label_expert == 1 for step in steps) > 200
    assert sum(step.label_other == 0 for step in steps) > 60


def test_labels_are_asked_for_at_every_third_step_shifted_by_task(
    suite: AlfworldSuite, strict_file: Path, tmp_path: Path
) -> None:
    _, whole = read_demonstrations(strict_file)
    for every in (0, 3):
        path = tmp_path / f"{every}.jsonl"
        write_demonstrations(suite, path, 40, "strict", HELD_OUT, seed=5, label_every=every)
        _, episodes = read_demonstrations(path)
        num_labelled = 0
        for full, some in zip(whole, episodes, strict=True):
            for position, (one, other) in enumerate(zip(full.steps, some.steps, strict=True)):
                is_asked = every > 0 and (position + some.task.index) % every == 0
                labels = (one.label_expert, one.label_other) if is_asked else (None, None)
                assert (other.label_expert, other.label_other) == labels
                num_labelled += is_asked
        assert (num_labelled > 0) == (every > 0)


@pytest.mark.parametrize(("share", "count", "expected"), [(0.05, 40, 2), (0.5, 10, 5), (0.0, 8, 0)])
def test_declared_share_draws_that_share_and_says_so(
    suite: AlfworldSuite, tmp_path: Path, share: float, count: int, expected: int
) -> None:
    path = tmp_path / "declared.jsonl"
    write_demonstrations(suite, path, count, "declared-share", HELD_OUT, share=share, max_steps=12)
    header, episodes = read_demonstrations(path)
    assert sum(episode.task.kind in HELD_OUT for episode in episodes) == expected
    assert (header.protocol, header.share) == ("declared-share", share)


def test_strict_refuses_a_held_out_kind(suite: AlfworldSuite, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"strict.*pick_two_obj_and_place"):
        write_demonstrations(
            suite, tmp_path / "x", 4, "strict", HELD_OUT, kinds=["pick_two_obj_and_place"]
        )
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "lenient"}, "lenient"),
        ({"num_episodes": 0}, "num_episodes is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"perturb": 1.5}, "perturb is 1.5"),
        ({"share": -0.1}, "share is -0.1"),
        ({"kinds": ["juggle"]}, "juggle"),
        ({"held_out_kinds": ()}, "held out are none"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    suite: AlfworldSuite, tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    usual = {"num_episodes": 20, "protocol": "declared-share", "held_out_kinds": HELD_OUT}
    with pytest.raises(UserError, match=message):
        write_demonstrations(suite, tmp_path / "x", **{**usual, **arguments})  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def test_a_file_that_breaks_its_protocol_is_refused(suite: AlfworldSuite, tmp_path: Path) -> None:
    path = tmp_path / "declared.jsonl"
    write_demonstrations(suite, path, 20, "declared-share", HELD_OUT, share=0.2, max_steps=12)
    first, *rest = path.read_text().splitlines()
    for changed in ({"protocol": "strict"}, {"share": 0.1}):
        forged = tmp_path / "forged.jsonl"
        forged.write_text("\n".join([json.dumps({**json.loads(first), **changed}), *rest]) + "\n")
        with pytest.raises(UserError, match="held-out kinds"):
            read_demonstrations(forged)


def test_kinds_held_out_here_are_checked_too(strict_file: Path) -> None:
    header, episodes = read_demonstrations(strict_file)
    check_protocol(header, episodes, HELD_OUT)
    with pytest.raises(UserError, match="look_at_obj_in_light"):
        check_protocol(header, episodes, ["look_at_obj_in_light"])


def test_only_the_training_split_may_be_learned(strict_file: Path) -> None:
    header, episodes = read_demonstrations(strict_file)
    task = replace(episodes[0].task, split="valid_seen")
    with pytest.raises(UserError, match="valid_seen"):
        check_protocol(header, [replace(episodes[0], task=task), *episodes[1:]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "line"),
        (lambda text: text.rstrip("\n").rpartition("\n")[0] + "\n", "truncated or was edited"),
        (lambda text: "", "line 1"),
        (lambda text: "[]\n" + text, "line 1.*not a JSON object"),
        (lambda text: text.replace("declutch-demonstrations/2", "other/2", 1), "other/2"),
        (lambda text: text.replace('"is_perturbed"', '"is_odd"', 1), "line 2.*is_odd"),
        (lambda text: text.replace('"seed"', '"sed"', 1), "line 1.*sed"),
    ],
)
def test_a_damaged_file_is_one_clear_error(
    strict_file: Path, tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_text(damage(strict_file.read_text()))
    with pytest.raises(UserError, match=message):
        read_demonstrations(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl"):
        read_demonstrations(tmp_path / "none.jsonl")


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(
    suite: AlfworldSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demonstrations.jsonl"
    path.write_text("old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=r"demonstrations\.jsonl.*No space left"):
        write_demonstrations(suite, path, 2, "strict", HELD_OUT)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["demonstrations.jsonl"]


def test_expert_table_counts_every_game_once(suite: AlfworldSuite) -> None:
    *rows, total = expert_table(suite, "valid_seen")
    assert [row.num_games for row in rows] == [2] * 6
    assert (total.kind, total.num_games) == ("all", 12)
    assert total.num_won_30 == sum(row.num_won_30 for row in rows)
    assert 11 <= total.num_won_30 <= total.num_won_50 <= 12
    assert 3 <= total.median_walkthrough <= total.median_steps <= 12
    (short,) = {row.num_won_50 for row in expert_table(suite, "valid_seen", max_steps=2)}
    assert short == 0

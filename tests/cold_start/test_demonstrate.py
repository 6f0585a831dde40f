"""Demonstrations: what is played, and what each protocol refuses to play."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from demonstrating import demonstrate

from declutch.cold_start.demonstrate import DemonstrationPlan
from declutch.cold_start.demonstrations import read_demonstrations
from declutch.envs.alfworld.levels import HELD_OUT_KINDS as HELD_OUT
from declutch.envs.alfworld.levels import TRAINED_KINDS
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.ground.errors import UserError


def test_the_same_seed_gives_the_same_bytes_and_another_others(
    suite: AlfworldSuite, strict_file: Path, tmp_path: Path
) -> None:
    for seed in (5, 6):
        plan = DemonstrationPlan(40, "strict", HELD_OUT, seed=seed)
        demonstrate(suite, tmp_path / f"{seed}.jsonl", plan)
    assert (tmp_path / "5.jsonl").read_bytes() == strict_file.read_bytes()
    assert (tmp_path / "6.jsonl").read_bytes() != strict_file.read_bytes()


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
    plan = DemonstrationPlan(24, "strict", HELD_OUT, perturb=0.0, max_steps=50)
    header = demonstrate(suite, path, plan)
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
        plan = DemonstrationPlan(40, "strict", HELD_OUT, seed=5, label_every=every)
        demonstrate(suite, path, plan)
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
    plan = DemonstrationPlan(count, "declared-share", HELD_OUT, share=share, max_steps=12)
    demonstrate(suite, path, plan)
    header, episodes = read_demonstrations(path)
    assert sum(episode.task.kind in HELD_OUT for episode in episodes) == expected
    assert (header.protocol, header.share) == ("declared-share", share)


def test_strict_refuses_a_held_out_kind(suite: AlfworldSuite, tmp_path: Path) -> None:
    plan = DemonstrationPlan(4, "strict", HELD_OUT, kinds=("pick_two_obj_and_place",))
    with pytest.raises(UserError, match=r"strict.*pick_two_obj_and_place"):
        demonstrate(suite, tmp_path / "x", plan)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "lenient"}, "lenient"),
        ({"num_episodes": 0}, "num_episodes is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"perturb": 1.5}, "perturb is 1.5"),
        ({"share": -0.1}, "share is -0.1"),
        ({"kinds": ("juggle",)}, "juggle"),
        ({"held_out_kinds": ()}, "held out are none"),
    ],
)
def test_plans_that_make_no_sense_are_refused(
    suite: AlfworldSuite, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    usual = {"num_episodes": 20, "protocol": "declared-share", "held_out_kinds": HELD_OUT}
    with pytest.raises(UserError, match=message):
        demonstrate(suite, tmp_path / "x", DemonstrationPlan(**{**usual, **changes}))
    assert not (tmp_path / "x").exists()

"""Training with distractors on households: reproducible, resumable, and never in an evaluation."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from training import SMALL_GAMES, metrics_without_times, run_training

from declutch.cold_start.pipeline import make_tiny
from declutch.config.files import change_config, parse_config
from declutch.config.run import Config
from declutch.credit.table import build_table
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.augmentation import AugmentedEnv
from declutch.envs.excerpts import Excerpt, are_related, telling_words
from declutch.envs.registry import make_suite
from declutch.evaluation.players import evaluation_params
from declutch.ground.errors import UserError
from declutch.judge.tasks import shown_step
from declutch.rollout.groups import Played, play_groups
from declutch.rollout.policy import Policy, load_policy
from declutch.runs.folder import RunFolder, iteration_name
from declutch.train import augmentation
from declutch.train.augmentation import find_augmentation

SENTENCES = 2


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings with distractors, and a tiny model of the suite's words."""
    folder = tmp_path_factory.mktemp("augmented")
    data = {
        "threads": 1,
        "env": {"cache_dir": str(folder / "cache"), "households": SMALL_GAMES, "max_steps": 5},
        "tiny": {
            "hidden_size": 32,
            "num_layers": 2,
            "intermediate_size": 64,
            "vocabulary_episodes": 30,
        },
        "train": {
            "iterations": 2,
            "tasks_per_iteration": 6,
            "group_size": 2,
            "save_every": 1,
            "save_episodes": 12,
        },
        "optimizer": {"lr": 1e-3, "mini_batch": None, "num_mini_batches": 1},
        "gcd": {"enabled": True, "task": "prediction", "num_questions": 4, "num_judgments": 2},
        "eval": {"every": 2, "max_games": 2, "levels": ["L0"]},
        "augmentation": {"enabled": True, "sentences": SENTENCES},
    }
    config = parse_config(data, "test")
    make_tiny(config, make_suite(config.env), folder / "tiny")
    return change_config(config, model={"path": str(folder / "tiny")})


@pytest.fixture(scope="module")
def suite(config: Config) -> AlfworldSuite:
    return make_suite(config.env)


@pytest.fixture(scope="module")
def policy(config: Config) -> Policy:
    return load_policy(config.model.path, config)


@pytest.fixture(scope="module")
def played(config: Config, suite: AlfworldSuite, policy: Policy) -> Played:
    found = find_augmentation(config, suite, policy)
    return play_groups(config, suite, policy, 0, augmentation=found)


def record(episode) -> list:
    return [
        (s.observation, s.prompt_ids.tolist(), s.response_ids.tolist(), s.distractors)
        for s in episode.steps
    ]


def test_groups_have_distractors_as_a_whole_or_not_at_all(played: Played) -> None:
    by_group: dict[int, list] = {}
    for episode in played.episodes:
        by_group.setdefault(episode.group, []).append(episode)
    counts = {
        group: {len(step.distractors) for each in episodes for step in each.steps}
        for group, episodes in by_group.items()
    }
    assert set(map(frozenset, counts.values())) == {frozenset((0,)), frozenset((SENTENCES,))}
    assert played.num_augmented == sum(0 not in each for each in counts.values())
    for episodes in by_group.values():
        assert len({each.steps[0].distractors for each in episodes}) == 1
        # One state, one picture of it.
        pictures: dict[tuple, set] = {}
        for step in (step for each in episodes for step in each.steps):
            key = (step.observation, step.inventory, step.admissible)
            pictures.setdefault(key, set()).add(step.distractors)
        assert all(len(each) == 1 for each in pictures.values())


def test_what_is_shown_is_known_to_the_model(played: Played, policy: Policy) -> None:
    unknown = policy.tokenizer.unk_token_id
    steps = [step for episode in played.episodes for step in episode.steps]
    assert any(step.distractors for step in steps)
    for step in steps:
        prompt = policy.tokenizer.decode(step.prompt_ids.tolist())
        for each in step.distractors:
            assert f" {each.short} " in prompt
            assert unknown not in policy.tokenizer.encode(each.short, add_special_tokens=False)


def test_what_is_shown_is_no_place_and_foreign_to_goal_and_moment(
    config: Config, suite: AlfworldSuite, policy: Policy
) -> None:
    found = find_augmentation(config, suite, policy)
    assert found is not None
    tasks, draw = suite.tasks("train"), random.Random(0)
    places = {kind for task in tasks for kind in suite.world_of(task).receptacle_types}
    for seed, task in enumerate(tasks):
        env = AugmentedEnv(suite.make_env(), found, seed)
        intro = seen = env.reset(task)
        for _ in range(12):
            assert len(seen.distractors) == SENTENCES
            here = telling_words(" ".join((seen.text, seen.inventory, *seen.admissible)))
            for each in seen.distractors:
                kind = each.short.split()[0]
                assert not any(are_related(kind, word) for word in telling_words(intro.text))
                assert kind not in here
                assert kind not in places
            seen = env.step(draw.choice(seen.admissible)).observation


def test_the_same_seed_plays_the_same_and_another_something_else(
    config: Config, suite: AlfworldSuite, policy: Policy, played: Played
) -> None:
    def play(config: Config) -> list:
        found = find_augmentation(config, make_suite(config.env), policy)
        return list(map(record, play_groups(config, suite, policy, 0, augmentation=found).episodes))

    first = list(map(record, played.episodes))
    assert play(config) == first
    assert play(change_config(config, seed=1)) != first


def test_groups_without_distractors_are_played_as_if_there_were_none(
    config: Config, suite: AlfworldSuite, policy: Policy, played: Played
) -> None:
    plain = play_groups(config, suite, policy, 0)
    assert plain.num_augmented is None
    num_equal = 0
    for one, other in zip(played.episodes, plain.episodes, strict=True):
        if any(step.distractors for step in one.steps):
            assert record(one)[0][1] != record(other)[0][1]
        else:
            assert record(one) == record(other)
            num_equal += 1
    assert num_equal >= config.train.group_size


def test_credit_rests_on_what_the_environment_said_and_questions_on_what_was_seen(
    policy: Policy, played: Played
) -> None:
    stripped = [
        replace(episode, steps=tuple(replace(s, distractors=()) for s in episode.steps))
        for episode in played.episodes
    ]
    table, other = build_table(played.episodes)[0], build_table(stripped)[0]
    assert table.anchor.equal(other.anchor)
    # A question about a step shows the very prompt that the agent was given.
    for episode in played.episodes:
        for position, step in enumerate(episode.steps):
            problem, _ = shown_step(policy, episode, position)
            assert policy.codec.encode_prompt(problem).equal(step.prompt_ids)


@pytest.fixture(scope="module")
def finished(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    run_training(config, path)
    return path


def test_a_run_says_how_it_went_with_distractors(finished: Path) -> None:
    rows = metrics_without_times(finished)
    assert [row["agent/augmented_groups"] for row in rows] == [
        pytest.approx(round(row["agent/augmented_groups"])) for row in rows
    ]
    assert any(row["agent/augmented_groups"] for row in rows)
    for row in rows:
        if row["agent/augmented_groups"]:
            assert 0 <= row["agent/augmented_success"] <= 1
            assert row["agent/num_distractors"] == SENTENCES


def stored_steps(path: Path) -> list[dict]:
    files = sorted((path / "episodes").glob("*.json*"))
    assert files
    return [
        step
        for file in files
        for line in file.read_text().splitlines()
        for step in json.loads(line)["steps"]
    ]


def test_stored_episodes_show_what_the_agent_saw(finished: Path) -> None:
    steps = stored_steps(finished)
    rich = [step for step in steps if "distractors" in step]
    assert 0 < len(rich) < len(steps)
    for step in rich:
        assert len(step["distractors"]) == SENTENCES
        assert all(text in " ".join(step["observation"].split()) for text in step["distractors"])
    assert not any("You notice" in step["observation"] for step in steps if step not in rich)


def test_a_run_does_not_go_on_with_other_distractors(config: Config, finished: Path) -> None:
    """That it goes on with its own is tested with the preset of GRPO with distractors."""
    other = change_config(config, augmentation={"sentences": SENTENCES + 1})
    with pytest.raises(UserError, match=r"augmentation\.sentences"):
        run_training(other, finished)


def test_an_evaluation_knows_nothing_of_it(config: Config, finished: Path, tmp_path: Path) -> None:
    off = change_config(
        config, augmentation={"enabled": False}, train={"iterations": 1}, eval={"every": 1}
    )
    run_training(off, tmp_path / "off")
    with_it, without = (
        json.loads(RunFolder(path).evaluation_path(iteration_name(0)).read_text())["games"]
        for path in (finished, tmp_path / "off")
    )
    assert with_it == without
    assert evaluation_params(config.env, config.eval, config.gcd).augmentation is None
    rows = metrics_without_times(tmp_path / "off")
    assert not any("augmented" in key or "distractor" in key for row in rows for key in row)
    assert not any("distractors" in step for step in stored_steps(tmp_path / "off"))


def test_a_suite_or_a_model_that_has_no_words_for_it_is_refused(
    config: Config, suite: AlfworldSuite, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augmentation, "collect_excerpts", lambda *_: ())
    with pytest.raises(UserError, match="shows nothing to distract with"):
        find_augmentation(config, suite, policy)
    strange = Excerpt("A zzyzx.", "zzyzx", frozenset(("zzyzx",)))
    silent = Excerpt("A mug.", "", frozenset(("mug",)))
    known = Excerpt("A mug.", "mug 1", frozenset(("mug",)))
    monkeypatch.setattr(augmentation, "collect_excerpts", lambda *_: (strange, silent))
    with pytest.raises(UserError, match="none of the 2 distractors of households"):
        find_augmentation(config, suite, policy)
    monkeypatch.setattr(augmentation, "collect_excerpts", lambda *_: (strange, silent, known))
    found = find_augmentation(config, suite, policy)
    assert found is not None
    assert found.excerpts == (known,)
    off = change_config(config, augmentation={"enabled": False})
    assert find_augmentation(off, suite, policy) is None

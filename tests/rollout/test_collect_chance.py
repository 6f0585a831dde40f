"""Environments in which chance plays a part get a seed, and are repeatable by it."""

import random

import pytest
from walking import walk_through

from declutch.cold_start.demonstrate import DemonstrationPlan, play_demonstrations
from declutch.envs.check import check_suite
from declutch.envs.custom import CustomSuite
from declutch.envs.protocol import Observation, Transition, is_deterministic
from declutch.envs.wanderer import Whim
from declutch.evaluation.players import scripted_player
from declutch.ground.errors import Status, UserError
from declutch.records import Episode, TaskId


class Dice:
    """Every step throws a die."""

    name = "dice"
    is_deterministic = False

    def tasks(self, split):
        return tuple(
            TaskId("dice", split, index, f"{split} {index}", "dice")
            for index in range({"train": 8, "L0": 4, "L1": 4}.get(split, 0))
        )

    def reset(self, task, seed):
        self.dice, self.count, self.start = random.Random(seed), 0, task.name
        return Observation(f"{task.name}. Your task is to: go on.", ("go",))

    def step(self, action):
        if action != "go":
            return Transition(Observation("Nothing happens.", ("go",)), 0.0, False, False, 0.0)
        self.count += 1
        text = f"{self.start}: {self.dice.randint(1, 6)}"
        is_won = self.count == 6
        return Transition(Observation(text, ("go",)), float(is_won), is_won, is_won, float(is_won))

    def close(self):
        pass

    def make_expert(self, seed):
        return Player()


class Player:
    def reset(self, task, observation):
        pass

    def act(self):
        return Whim("go", "I go on.", "go on")

    def update(self, action, observation):
        pass


class Forgetful(Dice):
    """Takes a seed and throws it away."""

    def reset(self, task, seed):
        return super().reset(task, random.randrange(10**9))


class Fixed(Dice):
    """Says that there is chance where there is none."""

    def reset(self, task, seed):
        return super().reset(task, 0)


class Seedless(Dice):
    def reset(self, task):
        return super().reset(task, 0)


def suite_of(kind: type = Dice) -> CustomSuite:
    return CustomSuite(f"{__name__}:{kind.__name__}", kind)


def seen(episodes: list[Episode]) -> list[list[str]]:
    return [[step.observation for step in each.steps[1:]] for each in episodes]


def test_every_episode_has_chance_of_its_own_and_the_seed_repeats_it() -> None:
    suite = suite_of()
    assert not is_deterministic(suite)
    tasks = suite.tasks("train")[:1] * 6
    first = seen(walk_through(suite, tasks, seed=1))
    assert len({tuple(each) for each in first}) > 1
    assert seen(walk_through(suite, tasks, seed=1)) == first
    assert seen(walk_through(suite, tasks, seed=2)) != first


def test_scripted_players_and_demonstrations_are_repeatable_too() -> None:
    suite = suite_of()
    tasks = suite.tasks("L0")[:1] * 5
    player = scripted_player("expert", suite, 6)
    plays = seen(player.play(tasks, 0))
    assert plays == seen(player.play(tasks, 0)) != seen(player.play(tasks, 1))
    assert len({tuple(each) for each in plays}) > 1
    plan = DemonstrationPlan(12, "strict", (), perturb=0.0)
    one, two = (play_demonstrations(suite, plan) for _ in range(2))
    assert one == two
    texts = {tuple(step.observation for step in each.steps) for each in one}
    assert len(texts) > 8


def findings(kind: type) -> dict[str, tuple[Status, str]]:
    return {each.name: (each.status, each.detail) for each in check_suite(suite_of(kind))}


def test_the_check_asks_for_repeatability_by_the_seed_and_for_some_chance() -> None:
    assert findings(Dice)["chance"][0] is Status.OK
    assert findings(Dice)["steps"][0] is Status.OK
    assert findings(Forgetful)["steps"][0] is Status.PROBLEM
    status, detail = findings(Fixed)["chance"]
    assert status is Status.WARN
    assert "is_deterministic=False" in detail


def test_a_reset_without_a_seed_is_one_clear_error() -> None:
    with pytest.raises(UserError, match=r"is_deterministic=False.*def reset\(self, task, seed\)"):
        suite_of(Seedless).make_env()

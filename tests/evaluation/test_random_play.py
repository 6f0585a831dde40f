"""A policy that wins no more than chance does is told so; any other is not."""

import pytest
from evaluations import make_result, play

from declutch.config.run import EvalConfig
from declutch.envs.custom import CustomSuite
from declutch.envs.protocol import Observation, Transition
from declutch.evaluation.random_play import compare_with_random
from declutch.records import TaskId


class Doors:
    """One of two doors wins, so that random play wins half of the games."""

    name = "doors"

    def tasks(self, split):
        return tuple(TaskId("doors", split, i, f"{split} {i}", "door") for i in range(60))

    def reset(self, task):
        return Observation("Two doors.", ("left", "right"))

    def step(self, action):
        won = action == "left"
        return Transition(Observation("Open.", ("left", "right")), float(won), won, True, won)

    def close(self):
        pass


class Free(Doors):
    """Lists no commands, so that nobody can play at random."""

    def reset(self, task):
        return Observation("Say something.", ())


def result(share: float):
    games = [play("L0", f"L0 {i}", i < 60 * share) for i in range(60)]
    return make_result(games, suite="doors")


CONFIG = EvalConfig(levels=("L0",))


@pytest.mark.parametrize(("share", "is_told"), [(0.1, True), (0.9, False)])
def test_chance_is_what_a_success_is_held_against(share: float, is_told: bool) -> None:
    note = compare_with_random(result(share), CustomSuite("x:Doors", Doors), CONFIG)
    assert ("random play wins as many games or more: L0 10.0% (random" in note) == is_told
    assert bool(note) == is_told


def test_where_nobody_can_play_at_random_nothing_is_said() -> None:
    assert compare_with_random(result(0.0), CustomSuite("x:Free", Free), CONFIG) == ""

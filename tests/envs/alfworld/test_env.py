"""The live environment: what an action does to it, and what nonsense does not."""

import pytest

from declutch.envs.alfworld.dynamics import admissible_commands
from declutch.envs.alfworld.env import AlfworldEnv
from declutch.envs.protocol import Observation, Oracle, TextEnv, Transition
from declutch.records import TaskId

TASK = TaskId("alfworld", "train", 0, "kitchen/trial", "pick_and_place_simple")
SOLUTION = (
    *("go to countertop 1", "take apple 2 from countertop 1", "go to cabinet 1"),
    *("open cabinet 1", "move apple 2 to cabinet 1"),
)


@pytest.fixture
def env(kitchen):
    return AlfworldEnv(lambda task: kitchen)


def test_it_speaks_the_protocols(env):
    assert isinstance(env, TextEnv)
    assert isinstance(env, Oracle)


def test_winning(env):
    env.reset(TASK)
    played = [env.step(action) for action in SOLUTION]
    assert [each.is_won for each in played] == [False] * 4 + [True]
    assert [each.is_done for each in played] == [False] * 4 + [True]
    assert [each.reward for each in played] == [0.0] * 4 + [1.0]
    assert [each.score for each in played] == [0.0] * 4 + [1.0]
    assert [each.observation.inventory for each in played] == ["", *["apple 2"] * 3, ""]


def test_a_won_game_stays_as_it_is_and_pays_once(env):
    env.reset(TASK)
    last = [env.step(action) for action in SOLUTION][-1]
    state = env.state
    for action in ("look", "take apple 2 from cabinet 1", "nonsense", ""):
        assert env.step(action) == Transition(last.observation, 0.0, True, True, 1.0)
    assert env.state is state


@pytest.mark.parametrize(
    "action",
    [
        *("", "  ", "dance", "LOOK", "Look", "go to", "go to fridge 2", "go to  fridge 1"),
        *("take apple 1 from fridge 1", "open fridge 1", "look look", "☕", "look " * 999),
        *("go to fridge 1.", "examine apple 1", "use desklamp 1", "\0"),
    ],
)
def test_nonsense_is_answered_and_changes_nothing(env, action):
    first = env.reset(TASK)
    state = env.state
    played = env.step(action)
    assert played.observation == Observation("Nothing happens.", first.admissible, "")
    assert (played.reward, played.is_won, played.is_done) == (0.0, False, False)
    assert env.state == state


def test_blanks_around_a_command_are_ignored(env):
    env.reset(TASK)
    played = env.step("\t go to fridge 1 \n")
    assert played.observation.text == "You arrive at fridge 1. The fridge 1 is closed."


def test_reset_starts_over(env):
    first = env.reset(TASK)
    for action in SOLUTION:
        env.step(action)
    assert env.reset(TASK) == first
    assert not env.step("look").is_done


def test_asking_before_the_first_reset_is_an_error(kitchen):
    env = AlfworldEnv(lambda task: kitchen)
    for ask in (lambda: env.step("look"), lambda: env.world, lambda: env.state):
        with pytest.raises(RuntimeError, match="reset"):
            ask()
    env.reset(TASK)
    env.close()
    with pytest.raises(RuntimeError, match="reset"):
        env.step("look")


def test_environments_share_the_world_and_nothing_else(kitchen):
    one, two = AlfworldEnv(lambda task: kitchen), AlfworldEnv(lambda task: kitchen)
    one.reset(TASK)
    two.reset(TASK)
    one.step("go to fridge 1")
    assert one.world is two.world
    assert two.state == kitchen.start


def test_the_oracle_sees_every_state_since_the_reset(env, monkeypatch):
    seen = []

    class Tracker:
        def __init__(self, world):
            seen.append(world)

        def observe(self, state):
            seen.append(state)

        def label(self, state, action, admissible):
            assert admissible == admissible_commands(env.world, state)
            seen.append(action)
            return 1

    monkeypatch.setattr("declutch.envs.alfworld.oracle.OracleTracker", Tracker)
    env.reset(TASK)
    start = env.state
    env.step("go to fridge 1")
    assert env.label_action("open fridge 1") == 1
    at_fridge = env.state
    env.step("open fridge 1")
    assert env.label_action("look") == 1
    assert seen == [env.world, start, at_fridge, "open fridge 1", env.state, "look"]
    env.reset(TASK)
    assert env.label_action("look") == 1
    assert seen[-3:] == [env.world, start, "look"]

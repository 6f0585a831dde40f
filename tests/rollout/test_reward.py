"""Rewards of one's own: by a function, and what is wrong with one."""

import math
from typing import Any

import pytest
from counting import Source
from walking import walk_through

from declutch.config.files import parse_config
from declutch.ground.errors import UserError
from declutch.records import TaskId
from declutch.rollout.reward import load_reward

TASK = TaskId("s", "train", 3, "three")


def progress(task: TaskId, before: Any, action: str, transition: Any) -> float:
    """Half a point for every step that is not the last, and who says what where does count."""
    assert (task.name, action, before.text[:5]) == ("three", "go", "left ")
    return 2.0 if transition.is_won else 0.5


def test_a_function_of_ones_own_pays_every_step() -> None:
    reward = load_reward(f"{__name__}:progress")
    (episode,) = walk_through(Source([]), [TASK], reward=reward, success_reward=10.0)
    assert [step.reward for step in episode.steps] == [5.0, 5.0, 20.0]
    assert episode.is_won
    (plain,) = walk_through(Source([]), [TASK], success_reward=10.0)
    assert [step.reward for step in plain.steps] == [0.0, 0.0, 10.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "1"])
def test_what_is_no_number_names_task_and_step(value: Any) -> None:
    with pytest.raises(UserError, match=r"train\.reward gives .*'three', step 1 \('go'\)"):
        walk_through(Source([]), [TASK], reward=lambda *_: value)


def test_a_function_that_fails_names_task_and_step() -> None:
    def fail(*_: Any) -> float:
        raise KeyError("score")

    with pytest.raises(UserError, match=r"train\.reward raises KeyError: 'score' .*step 1"):
        walk_through(Source([]), [TASK], reward=fail)


def test_what_is_named_has_to_be_there() -> None:
    assert load_reward(None) is None
    with pytest.raises(UserError, match=r"train\.reward='nowhere:reward': .*cannot be imported"):
        load_reward("nowhere:reward")
    with pytest.raises(UserError, match=r"is a TaskId, no function reward\(task, before"):
        load_reward(f"{__name__}:TASK")
    with pytest.raises(UserError, match=r"train\.reward"):
        parse_config({"train": {"reward": "no name"}}, "test")

"""What the expert says follows from its plan alone."""

import pytest

from declutch.envs.scienceworld.thoughts import (
    _DIRECT,
    _VERBS,
    Purpose,
    long_thought,
    purpose_of,
    short_thought,
)

PLAN = (
    "teleport to kitchen",
    "look around",
    "pick up thermometer",
    "go to hallway",
    "go to outside",
    "move thermometer to red box",
    "look around",
)


@pytest.mark.parametrize(
    ("start", "purpose", "short"),
    [
        (0, Purpose("find", "thermometer"), "find thermometer"),
        (1, Purpose("find", "thermometer"), "find thermometer"),
        (2, Purpose("take", "thermometer"), "take thermometer"),
        # It is carried; what is looked for is where to put it.
        (3, Purpose("find", "red box"), "find red box"),
        (5, Purpose("put", "thermometer", "red box"), "put thermometer"),
        (6, Purpose("find"), "find"),
    ],
)
def test_the_purpose_is_what_comes_next(start, purpose, short):
    assert purpose_of(PLAN[start:]) == purpose
    assert short_thought(purpose) == short


def test_thoughts_name_thing_and_place():
    said = {long_thought(PLAN[0], purpose_of(PLAN), number) for number in range(20)}
    assert len(said) == 3
    assert all("thermometer" in text and "in the kitchen" in text for text in said)
    text = long_thought(PLAN[4], purpose_of(PLAN[4:]), 0)
    assert "red box" in text
    assert "outside" in text
    assert "in the outside" not in text
    assert text == long_thought(PLAN[4], purpose_of(PLAN[4:]), 0)
    alone = long_thought("go to kitchen", Purpose("find"), 1)
    assert alone.endswith(("in the kitchen.", "so I go there."))


def test_every_action_has_words():
    assert {phase for phase, _ in _VERBS} | {"do"} == set(_DIRECT)
    for phase, pattern in _VERBS:
        action = pattern.pattern.replace("(?:at|in)", "at").replace("(.+)", "pot")
        action = action.replace("1?", "1").replace(r"\d+", "0")
        purpose = purpose_of((action,))
        assert purpose.phase == phase
        assert "{" not in long_thought(action, purpose, 3)
    assert purpose_of(("sing",)) == Purpose("do")
    assert long_thought("sing", Purpose("do"), 0) == "This is the next step of the work."

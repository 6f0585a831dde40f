"""Distractors of household tasks are things of other households, and no place or tool."""

from declutch.envs.alfworld.excerpts import LOOKS, find_things
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.excerpts import Excerpt

INTRO = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around"
    " you, you see a desk 1, and a drawer 1.\n\nYour task is to: put a mug in desk."
)


def test_things_in_receptacles_are_noticed_and_look_always_alike() -> None:
    found = find_things(
        (
            INTRO,
            "You arrive at shelf 1. On the shelf 1, you see a vase 2, and a butterknife 1.",
            "You open the drawer 1. The drawer 1 is open. In it, you see a cd 3.",
            "You pick up the cd 3 from the drawer 1.",
            "You are in the middle of a room. Looking quickly around you, you see nothing.",
            "You arrive at shelf 2. On the shelf 2, you see nothing.",
        )
    )
    assert found == [
        Excerpt("You notice a vase 2 that looks dented.", "vase 2", frozenset(("vase",))),
        Excerpt("You notice a cd 3 that looks new.", "cd 3", frozenset(("cd",))),
    ]
    assert HOUSEHOLD.find_excerpts((INTRO, "On the shelf 1, you see a vase 2.")) == found[:1]


def test_no_look_is_one_that_a_task_asks_for() -> None:
    asked = ("clean", "dirty", "hot", "warm", "cool", "cold", "sliced", "on", "off")
    assert set(" ".join(LOOKS).split()).isdisjoint(asked)

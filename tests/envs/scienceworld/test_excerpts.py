"""Distractors of ScienceWorld's tasks are things of its rooms, and no answers to actions."""

from declutch.envs.excerpts import Excerpt
from declutch.envs.scienceworld.wording import SCIENCE

ROOM = (
    "This room is called the kitchen. In it, you see: \n\tthe agent\n\ta substance called air\n"
    "\ta chair. On the chair is: nothing.\n"
    "\ta thermometer, currently reading a temperature of 10 degrees celsius\n"
    "You also see:\n\tA door to the hallway (that is open)\n"
)


def test_the_things_of_rooms_are_excerpts_with_what_is_said_of_them() -> None:
    first = f"{ROOM}\n\nTask Description:\nYour task is to find a(n) apple."
    thermometer = "a thermometer, currently reading a temperature of 10 degrees celsius"
    assert SCIENCE.find_excerpts((first, "You move to the hallway.", "0:\tmove apple\n")) == [
        Excerpt(
            "Somewhere else there is a chair. On the chair is: nothing.",
            "chair",
            frozenset(("chair",)),
        ),
        Excerpt(
            f"Somewhere else there is {thermometer}.",
            "thermometer 10",
            frozenset(["thermometer", "currently", "reading", "temperature", "degrees", "celsius"]),
        ),
    ]

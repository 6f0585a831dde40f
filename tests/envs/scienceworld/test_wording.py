"""What ScienceWorld's sentences may distract with in other tasks."""

from declutch.envs.scienceworld.wording import SCIENCE

ROOM = (
    "This room is called the kitchen. In it, you see: \n\tthe agent\n\ta substance called air\n"
    "\ta chair. On the chair is: nothing.\n"
    "\ta thermometer, currently reading a temperature of 10 degrees celsius\n"
    "You also see:\n\tA door to the hallway (that is open)\n"
)


def test_things_of_a_room_are_excerpts_in_short_and_in_full() -> None:
    found = {each.short: each for each in SCIENCE.find_excerpts(("the task", ROOM)) if each.short}
    assert {"chair", "thermometer 10"} <= found.keys()
    thermometer = found["thermometer 10"]
    assert "thermometer" in thermometer.names
    assert thermometer.text.endswith(
        'reads: "a thermometer, currently reading a temperature of 10 degrees celsius"'
    )
    # What is said of every room is named by every first observation, and so is never shown.
    said_of_all = {"room", "agent", "substance", "door"}
    assert all(each.names & said_of_all for short, each in found.items() if "this room" in short)
    assert not SCIENCE.find_excerpts(("the task", "No known action matches that input."))

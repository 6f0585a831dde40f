"""What every command changes and leaves, and what wins, worked out by hand in the kitchen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from declutch.envs.alfworld.dynamics import (
    NOWHERE,
    VERBS,
    Command,
    admissible_commands,
    apply_command,
    is_won,
    parse_command,
)
from declutch.envs.alfworld.world import Goal, State, Wanted, World

COUNTER, FRIDGE = "go to countertop 1", "go to fridge 1"
SINK, MICROWAVE = "go to sinkbasin 1", "go to microwave 1"
TAKE_APPLE = (COUNTER, "take apple 2 from countertop 1")
TAKE_MUG = (COUNTER, "take mug 1 from countertop 1")
TAKE_KNIFE = (COUNTER, "take knife 1 from countertop 1")


def play(world: World, *commands: str, state: State | None = None) -> State:
    state = state or world.start
    for text in commands:
        assert text in admissible_commands(world, state), text
        command = parse_command(world, text)
        assert command is not None
        state = apply_command(world, state, command)
    return state


def changed(world: World, before: tuple[str, ...], command: str) -> dict[str, object]:
    """Fields of the state that the command changes, after those before it."""
    state = play(world, *before)
    after = play(world, command, state=state)
    names = State._fields
    return {n: getattr(after, n) for n in names if getattr(after, n) != getattr(state, n)}


def bits(world: World, *names: str) -> int:
    return sum(1 << world.object_numbers[name] for name in names)


def doors(world: World, *names: str) -> int:
    return sum(1 << world.receptacle_numbers[name] for name in names)


def place_of(world: World, receptacle: str) -> int:
    return world.receptacle_locations[world.receptacle_numbers[receptacle]]


def test_going_changes_the_place_alone(kitchen: World) -> None:
    assert changed(kitchen, (), COUNTER) == {"location": place_of(kitchen, "countertop 1")}
    assert changed(kitchen, (COUNTER,), FRIDGE) == {"location": place_of(kitchen, "fridge 1")}


def test_opening_and_closing_leave_other_doors_alone(kitchen: World) -> None:
    here, both = ("go to cabinet 1", "open cabinet 1"), doors(kitchen, "cabinet 1", "cabinet 2")
    assert changed(kitchen, here[:1], here[1]) == {"opened": doors(kitchen, "cabinet 1")}
    assert changed(kitchen, here, "open cabinet 2") == {"opened": both}
    closed = changed(kitchen, (*here, "open cabinet 2"), "close cabinet 1")
    assert closed == {"opened": doors(kitchen, "cabinet 2")}


def test_taking_moves_an_object_from_its_place_into_the_hands(kitchen: World) -> None:
    counter, mug = kitchen.receptacle_numbers["countertop 1"], bits(kitchen, "mug 1")
    start = kitchen.start
    location = place_of(kitchen, "countertop 1")
    found = changed(kitchen, (COUNTER,), TAKE_MUG[1])
    contents = [each & ~mug if n == counter else each for n, each in enumerate(start.contents)]
    lying = [each & ~mug if n == location else each for n, each in enumerate(start.lying)]
    removed = [mug if n == counter else 0 for n, _ in enumerate(start.contents)]
    assert found == {
        "held": kitchen.object_numbers["mug 1"],
        "contents": tuple(contents),
        "lying": tuple(lying),
        "removed": tuple(removed),
    }
    # It was on the burner, too, and stays there; elsewhere nothing moved.
    assert found["contents"][kitchen.receptacle_numbers["stoveburner 1"]] == mug


def test_moving_puts_the_object_down_where_it_is_put(kitchen: World) -> None:
    before = (*TAKE_APPLE, SINK)
    held = play(kitchen, *before)
    sink, apple = kitchen.receptacle_numbers["sinkbasin 1"], bits(kitchen, "apple 2")
    location = place_of(kitchen, "sinkbasin 1")
    found = changed(kitchen, before, "move apple 2 to sinkbasin 1")
    contents = [each | apple if n == sink else each for n, each in enumerate(held.contents)]
    lying = [each | apple if n == location else each for n, each in enumerate(held.lying)]
    # It is still missing from the counter.
    assert found == {"held": NOWHERE, "contents": tuple(contents), "lying": tuple(lying)}
    again = play(kitchen, *before, "move apple 2 to sinkbasin 1", "take apple 2 from sinkbasin 1")
    assert again.removed[sink] == apple
    back = play(kitchen, "move apple 2 to sinkbasin 1", state=again)
    assert back.removed[sink] == 0
    assert back.removed[kitchen.receptacle_numbers["countertop 1"]] == apple


def test_cleaning_marks_one_object_after_the_other_and_nothing_else(kitchen: World) -> None:
    clean_apple = (*TAKE_APPLE, SINK, "clean apple 2 with sinkbasin 1")
    assert changed(kitchen, clean_apple[:-1], clean_apple[-1]) == {
        "clean": bits(kitchen, "apple 2")
    }
    assert changed(kitchen, clean_apple, clean_apple[-1]) == {}
    knife = (*clean_apple, "move apple 2 to sinkbasin 1", *TAKE_KNIFE, SINK)
    both = changed(kitchen, knife, "clean knife 1 with sinkbasin 1")
    assert both == {"clean": bits(kitchen, "apple 2", "knife 1")}


def test_heating_and_cooling_undo_each_other_for_this_object_alone(kitchen: World) -> None:
    start_cool = bits(kitchen, "apple 1")
    assert kitchen.start.cool == start_cool
    heat, cool = "heat apple 2 with microwave 1", "cool apple 2 with fridge 1"
    apple = bits(kitchen, "apple 2")
    assert changed(kitchen, (*TAKE_APPLE, MICROWAVE), heat) == {"hot": apple}
    assert changed(kitchen, (*TAKE_APPLE, FRIDGE), cool) == {"cool": apple | start_cool}
    hot = (*TAKE_APPLE, MICROWAVE, heat)
    assert changed(kitchen, (*hot, FRIDGE), cool) == {"cool": apple | start_cool, "hot": 0}
    cold = (*TAKE_APPLE, FRIDGE, cool)
    assert changed(kitchen, (*cold, MICROWAVE), heat) == {"hot": apple, "cool": start_cool}
    put = (*hot, "open microwave 1", "move apple 2 to microwave 1", *TAKE_MUG, MICROWAVE)
    both = changed(kitchen, put, "heat mug 1 with microwave 1")
    assert both == {"hot": apple | bits(kitchen, "mug 1")}


def test_slicing_and_using_mark_for_good(kitchen: World) -> None:
    here = "slice apple 2 with knife 1"
    there = "slice apple 1 with knife 1"
    first = changed(kitchen, TAKE_KNIFE, here)
    assert first == {"sliced": bits(kitchen, "apple 2")}
    second = changed(kitchen, (*TAKE_KNIFE, here, FRIDGE), there)
    assert second == {"sliced": bits(kitchen, "apple 1", "apple 2")}
    lamp = {"toggled": bits(kitchen, "desklamp 1")}
    assert changed(kitchen, (COUNTER,), "use desklamp 1") == lamp
    assert changed(kitchen, (COUNTER, "use desklamp 1"), "use desklamp 1") == {}


@pytest.mark.parametrize("command", ["look", "inventory", "help", "examine countertop 1"])
def test_asking_changes_nothing(kitchen: World, command: str) -> None:
    assert changed(kitchen, (COUNTER,), command) == {}


def test_commands_at_every_appliance_with_something_in_the_hands(kitchen: World) -> None:
    going = [f"go to {name}" for name in sorted(kitchen.receptacle_names)]
    plain = ("help", "inventory", "look")

    def at(*commands: str) -> tuple[str, ...]:
        return admissible_commands(kitchen, play(kitchen, *commands))

    def others(place: str) -> list[str]:
        return [command for command in going if command != place]

    assert at(*TAKE_APPLE, SINK) == (
        *("clean apple 2 with sinkbasin 1", "examine apple 2", "examine sinkbasin 1"),
        *(*others(SINK), *plain, "move apple 2 to sinkbasin 1"),
    )
    assert at(*TAKE_APPLE, FRIDGE) == (
        *("cool apple 2 with fridge 1", "examine apple 2", "examine fridge 1"),
        *(*others(FRIDGE), *plain, "open fridge 1"),
    )
    assert at(*TAKE_APPLE, FRIDGE, "open fridge 1") == (
        *("close fridge 1", "cool apple 2 with fridge 1", "examine apple 2", "examine fridge 1"),
        *(*others(FRIDGE), *plain, "move apple 2 to fridge 1"),
    )
    assert at(*TAKE_MUG, MICROWAVE) == (
        *("examine microwave 1", "examine mug 1", *others(MICROWAVE)),
        *("heat mug 1 with microwave 1", *plain, "open microwave 1"),
    )
    # A box can be neither cleaned, heated nor cooled, and slices nothing.
    box = (COUNTER, "take box 1 from countertop 1")
    assert at(*box, SINK) == (
        *("examine box 1", "examine sinkbasin 1", *others(SINK), *plain),
        "move box 1 to sinkbasin 1",
    )
    assert at(*box, FRIDGE) == (
        *("examine box 1", "examine fridge 1", *others(FRIDGE), *plain, "open fridge 1"),
    )


def test_commands_with_several_doors_and_free_hands(kitchen: World) -> None:
    both = play(kitchen, "go to cabinet 1", "open cabinet 2", "open cabinet 1")
    assert [c for c in admissible_commands(kitchen, both) if "cabinet" in c and "go" not in c] == [
        *("close cabinet 1", "close cabinet 2", "examine cabinet 1", "examine cabinet 2"),
        "take mug 2 from cabinet 2",
    ]
    one = play(kitchen, "close cabinet 2", state=both)
    assert [c for c in admissible_commands(kitchen, one) if "cabinet" in c and "go" not in c] == [
        *("close cabinet 1", "examine cabinet 1", "examine cabinet 2", "open cabinet 2"),
    ]


def test_every_verb_is_read_into_numbers(kitchen: World) -> None:
    objects, places = kitchen.object_numbers, kitchen.receptacle_numbers
    apple, counter = objects["apple 1"], places["countertop 1"]
    expected = {
        "look": Command("look"),
        "inventory": Command("inventory"),
        "help": Command("help"),
        "go to countertop 1": Command("go to", receptacle=counter),
        "open countertop 1": Command("open", receptacle=counter),
        "close countertop 1": Command("close", receptacle=counter),
        "use apple 1": Command("use", object=apple),
        "examine apple 1": Command("examine", object=apple),
        "examine countertop 1": Command("examine", receptacle=counter),
        "slice apple 1 with knife 1": Command("slice", object=apple, tool=objects["knife 1"]),
        "take apple 1 from countertop 1": Command("take", object=apple, receptacle=counter),
        "move apple 1 to countertop 1": Command("move", object=apple, receptacle=counter),
        "clean apple 1 with countertop 1": Command("clean", object=apple, receptacle=counter),
        "heat apple 1 with countertop 1": Command("heat", object=apple, receptacle=counter),
        "cool apple 1 with countertop 1": Command("cool", object=apple, receptacle=counter),
    }
    assert {text: parse_command(kitchen, text) for text in expected} == expected
    assert {command.verb for command in expected.values()} == set(VERBS)
    assert Command("look") == ("look", -1, -1, -1)


def wins(world: World, goal: Goal, *commands: str) -> bool:
    return is_won(replace(world, goal=goal), play(world, *commands))


def test_an_object_placed_wins_as_it_is_wanted(kitchen: World) -> None:
    sink = (kitchen.receptacle_numbers["sinkbasin 1"],)
    apples = bits(kitchen, "apple 1", "apple 2")
    plain = Goal((Wanted(apples, ()),), sink, None, None)
    clean = Goal((Wanted(apples, ("clean",)),), sink, None, None)
    there = (*TAKE_APPLE, SINK, "move apple 2 to sinkbasin 1")
    assert not wins(kitchen, plain, *there[:-1])  # It is in the hands.
    assert wins(kitchen, plain, *there)
    assert not wins(kitchen, clean, *there)
    assert wins(kitchen, clean, *there[:-1], "clean apple 2 with sinkbasin 1", there[-1])
    elsewhere = replace(plain, receptacles=(kitchen.receptacle_numbers["countertop 1"],))
    assert not wins(kitchen, elsewhere, *there)
    assert wins(kitchen, elsewhere)


def test_two_objects_must_be_two_and_share_a_place(kitchen: World) -> None:
    sink, fridge = (kitchen.receptacle_numbers[name] for name in ("sinkbasin 1", "fridge 1"))
    wanted = Wanted(bits(kitchen, "apple 1", "apple 2"), ())
    goal = Goal((wanted, wanted), (sink, fridge), None, None)
    one = (*TAKE_APPLE, SINK, "move apple 2 to sinkbasin 1")
    assert not wins(kitchen, goal, *one)  # Apple 1 is in the fridge, apple 2 in the sink.
    second = (FRIDGE, "open fridge 1", "take apple 1 from fridge 1", SINK)
    both = (*one, *second, "move apple 1 to sinkbasin 1")
    assert not wins(kitchen, goal, *both[:-1])
    assert wins(kitchen, goal, *both)
    mixed = Goal((wanted, Wanted(bits(kitchen, "mug 1"), ())), (sink,), None, None)
    assert not wins(kitchen, mixed, *both)
    mug = (*TAKE_MUG, SINK, "move mug 1 to sinkbasin 1")
    assert wins(kitchen, mixed, *both, *mug)
    hot = Goal((wanted, Wanted(bits(kitchen, "mug 1"), ("hot",))), (sink,), None, None)
    assert not wins(kitchen, hot, *both, *mug)


def test_looking_in_light_needs_the_object_and_the_lamp_that_is_on(kitchen: World) -> None:
    held = Wanted(bits(kitchen, "apple 2"), ())
    lamp = Wanted(bits(kitchen, "desklamp 1"), ("toggled",))
    goal = Goal((), (), held, lamp)
    assert not wins(kitchen, goal, COUNTER, "use desklamp 1")  # Nothing is held.
    assert not wins(kitchen, goal, *TAKE_APPLE)  # The lamp is off.
    assert not wins(kitchen, goal, *TAKE_MUG, "use desklamp 1")  # It is another object.
    assert wins(kitchen, goal, *TAKE_APPLE, "use desklamp 1")
    assert not wins(kitchen, goal, *TAKE_APPLE, "use desklamp 1", FRIDGE)  # The lamp is elsewhere.
    assert wins(kitchen, replace(goal, lamp=None), *TAKE_APPLE, FRIDGE)
    assert wins(kitchen, replace(goal, held=None), COUNTER, "use desklamp 1")
    both = replace(goal, placed=(held,), receptacles=(kitchen.receptacle_numbers["sinkbasin 1"],))
    assert not wins(kitchen, both, *TAKE_APPLE, "use desklamp 1")  # It is not placed as well.

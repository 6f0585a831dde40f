"""The mechanics and their words, worked out by hand in a small kitchen."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from declutch.envs.alfworld.dynamics import VERBS, admissible_commands, apply_command, parse_command
from declutch.envs.alfworld.game import load_world
from declutch.envs.alfworld.text import describe_intro, describe_outcome, name_carried


def play(world, *commands, state=None):
    """State and words after the commands, each of which must be admissible."""
    state, answer = state or world.start, ""
    for text in commands:
        assert text in admissible_commands(world, state), text
        command = parse_command(world, text)
        assert command is not None, text
        state = apply_command(world, state, command)
        answer = describe_outcome(world, state, command)
    return state, answer


def say(world, *commands):
    return play(world, *commands)[1]


def can(world, *commands):
    return admissible_commands(world, play(world, *commands)[0])


COUNTER = "go to countertop 1"
TAKE_APPLE = (COUNTER, "take apple 2 from countertop 1")
TAKE_MUG = (COUNTER, "take mug 1 from countertop 1")
TAKE_KNIFE = (COUNTER, "take knife 1 from countertop 1")


def test_the_intro_lists_the_room_and_the_task(kitchen):
    assert describe_intro(kitchen) == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, "
        "a cabinet 1, a countertop 1, a fridge 1, a microwave 1, a sinkbasin 1, "
        "and a stoveburner 1.\n\n"
        "Your task is to: put some apple on cabinet."
    )


def test_the_intro_where_a_game_starts_at_a_receptacle(write_kitchen):
    path = write_kitchen()
    path.write_text(path.read_text().replace("agent1 loc_bar_0", "agent1 loc_bar_3"))
    words = describe_intro(load_world(path)).split("\n\n")[1]
    assert words == "You are facing the fridge 1. Next to it, you see nothing."


def test_admissible_commands_from_the_middle(kitchen):
    assert admissible_commands(kitchen, kitchen.start) == (
        *("go to cabinet 1", "go to cabinet 2", "go to countertop 1", "go to fridge 1"),
        *("go to microwave 1", "go to sinkbasin 1", "go to stoveburner 1"),
        *("help", "inventory", "look"),
    )


def test_admissible_commands_at_a_shared_place(kitchen):
    # The counter and the burner share a place, so neither can be gone to; nothing is held, so no
    # object can be examined; the mug is on both.
    assert can(kitchen, COUNTER) == (
        *("examine countertop 1", "examine stoveburner 1"),
        *("go to cabinet 1", "go to cabinet 2", "go to fridge 1", "go to microwave 1"),
        *("go to sinkbasin 1", "help", "inventory", "look"),
        *("take apple 2 from countertop 1", "take box 1 from countertop 1"),
        *("take knife 1 from countertop 1", "take mug 1 from countertop 1"),
        *("take mug 1 from stoveburner 1", "use desklamp 1"),
    )


def test_admissible_commands_with_a_knife(kitchen):
    assert can(kitchen, *TAKE_KNIFE) == (
        *("examine countertop 1", "examine knife 1", "examine stoveburner 1"),
        *("go to cabinet 1", "go to cabinet 2", "go to fridge 1", "go to microwave 1"),
        *("go to sinkbasin 1", "help", "inventory", "look"),
        *("move knife 1 to countertop 1", "move knife 1 to stoveburner 1"),
        *("slice apple 2 with knife 1", "use desklamp 1"),
    )


def test_doors_matter_for_taking_and_moving_only(kitchen):
    closed = can(kitchen, *TAKE_APPLE, "go to fridge 1")
    assert "cool apple 2 with fridge 1" in closed
    assert "open fridge 1" in closed
    assert "move apple 2 to fridge 1" not in closed
    opened = can(kitchen, *TAKE_APPLE, "go to fridge 1", "open fridge 1")
    assert "move apple 2 to fridge 1" in opened
    assert "close fridge 1" in opened
    assert "take apple 1 from fridge 1" not in opened  # The hands are full.
    assert "take apple 1 from fridge 1" in can(kitchen, "go to fridge 1", "open fridge 1")


def test_a_slice_asks_only_for_the_place(kitchen):
    # The fridge is closed, but the apple in it lies at the agent's place.
    assert "slice apple 1 with knife 1" in can(kitchen, *TAKE_KNIFE, "go to fridge 1")


def test_what_cannot_be_contained_cannot_be_moved(kitchen):
    at_microwave = can(kitchen, *TAKE_KNIFE, "go to microwave 1", "open microwave 1")
    assert not [each for each in at_microwave if each.startswith("move")]
    assert "heat knife 1 with microwave 1" not in at_microwave
    assert "clean knife 1 with sinkbasin 1" in can(kitchen, *TAKE_KNIFE, "go to sinkbasin 1")


def test_going_opening_and_closing(kitchen):
    assert say(kitchen, COUNTER) == (
        "You arrive at countertop 1. On the countertop 1, you see a apple 2, a box 1, "
        "a desklamp 1, a knife 1, and a mug 1."
    )
    arrive = "go to cabinet 1"
    assert say(kitchen, arrive) == "You arrive at cabinet 1. The cabinet 1 is closed."
    opened = say(kitchen, arrive, "open cabinet 2")
    assert opened == "You open the cabinet 2. The cabinet 2 is open. In it, you see a mug 2."
    empty = say(kitchen, arrive, "open cabinet 1")
    assert empty == "You open the cabinet 1. The cabinet 1 is open. In it, you see nothing."
    assert say(kitchen, arrive, "open cabinet 1", "close cabinet 1") == "You close the cabinet 1."
    assert say(kitchen, "go to stoveburner 1").endswith("On the stoveburner 1, you see a mug 1.")


def test_taking_moving_and_carrying(kitchen):
    state, words = play(kitchen, *TAKE_MUG)
    assert words == "You pick up the mug 1 from the countertop 1."
    assert name_carried(kitchen, state) == "mug 1"
    assert play(kitchen, "inventory", state=state)[1] == "You are carrying: a mug 1."
    # The mug was in two receptacles and is taken from one of them.
    assert play(kitchen, "examine stoveburner 1", state=state)[1].endswith("you see a mug 1.")
    state, words = play(kitchen, "move mug 1 to countertop 1", state=state)
    assert words == "You move the mug 1 to the countertop 1."
    assert name_carried(kitchen, state) == ""
    assert play(kitchen, "inventory", state=state)[1] == "You are not carrying anything."
    assert state == kitchen.start._replace(location=state.location)


def test_looking(kitchen):
    assert say(kitchen, "look").endswith("Looking quickly around you, you see nothing.")
    facing = "You are facing the countertop 1, and stoveburner 1. Next to it, you see "
    assert say(kitchen, COUNTER, "look") == f"{facing}nothing."
    # The domain only notices that an object is not in a receptacle after it was taken from there.
    away = (*TAKE_APPLE, "move apple 2 to stoveburner 1")
    assert say(kitchen, *away, "look") == f"{facing}a apple 2."
    back = (*away, "take apple 2 from stoveburner 1", "move apple 2 to countertop 1")
    assert say(kitchen, *back, "look") == f"{facing}a apple 2."
    home = (*TAKE_APPLE, "move apple 2 to countertop 1")
    assert say(kitchen, *home, "look") == f"{facing}nothing."


def test_an_object_is_listed_once_for_each_place_it_is_missing_from(kitchen):
    here = "go to cabinet 1"
    away = ("take mug 2 from cabinet 2", "move mug 2 to cabinet 1")
    both = (here, "open cabinet 1", "open cabinet 2", *away, "take mug 2 from cabinet 1")
    state, _ = play(kitchen, *both)
    lying = list(state.lying)
    lying[state.location] |= 1 << kitchen.object_numbers["mug 2"]
    words = play(kitchen, "look", state=state._replace(lying=tuple(lying)))[1]
    assert words.endswith("Next to it, you see a mug 2, and a mug 2.")


HEAT = ("go to microwave 1", "heat apple 2 with microwave 1")
COOL = ("go to fridge 1", "cool apple 2 with fridge 1")
CLEAN = ("go to sinkbasin 1", "clean apple 2 with sinkbasin 1")
SLICE = (*TAKE_KNIFE, "slice apple 2 with knife 1", "move knife 1 to countertop 1")
TAKE = "take apple 2 from countertop 1"


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ((COUNTER, TAKE), "There's nothing special about apple 2."),
        ((COUNTER, TAKE, *HEAT), "This is a hot apple 2."),
        ((COUNTER, TAKE, *COOL), "This is a cold apple 2."),
        ((COUNTER, TAKE, *CLEAN), "This is a clean apple 2."),
        ((COUNTER, TAKE, *HEAT, *COOL), "This is a cold apple 2."),
        ((COUNTER, TAKE, *COOL, *HEAT), "This is a hot apple 2."),
        ((COUNTER, TAKE, *CLEAN, *HEAT), "This is a hot and clean apple 2."),
        ((COUNTER, TAKE, *CLEAN, *COOL), "This is a cool and clean apple 2."),
        ((*SLICE, TAKE), "This is a sliced apple 2."),
        ((*SLICE, TAKE, *HEAT), "This is a hot sliced apple 2."),
        ((*SLICE, TAKE, *COOL), "This is a cool sliced apple 2."),
        ((*SLICE, TAKE, *CLEAN), "This is a clean sliced apple 2."),
        ((*SLICE, TAKE, *CLEAN, *HEAT), "This is a hot and clean sliced apple 2."),
        ((*SLICE, TAKE, *CLEAN, *COOL), "This is a cool and clean sliced apple 2."),
    ],
)
def test_examining_an_object(kitchen, commands, words):
    assert say(kitchen, *commands, "examine apple 2") == words


def test_examining_a_box_and_what_was_used(kitchen):
    box = (COUNTER, "take box 1 from countertop 1", "examine box 1")
    assert say(kitchen, *box) == "This is a normal box 1. In it, you see a apple 1."
    assert say(kitchen, COUNTER, "examine countertop 1").startswith("On the countertop 1,")


def test_treating_using_and_slicing_in_words(kitchen):
    assert say(kitchen, *TAKE_APPLE, *HEAT) == "You heat the apple 2 using the microwave 1."
    assert say(kitchen, *TAKE_APPLE, *COOL) == "You cool the apple 2 using the fridge 1."
    assert say(kitchen, *TAKE_APPLE, *CLEAN) == "You clean the apple 2 using the sinkbasin 1."
    sliced = say(kitchen, *TAKE_KNIFE, "slice apple 2 with knife 1")
    assert sliced == "You sliced the apple 2 with the knife 1."
    twice = say(kitchen, COUNTER, "use desklamp 1", "use desklamp 1")
    assert twice == "You turn on the desklamp 1."
    assert say(kitchen, "help").startswith("Available commands:\n  look:   ")
    assert say(kitchen, "help").endswith("using a sharp object\n")


@pytest.mark.parametrize(
    "text",
    [
        *("", "look ", "looks", "look around", "go", "go to", "go to fridge", "goto fridge 1"),
        *("open", "open apple 1", "use fridge 1", "examine", "examine apple 3", "take apple 1"),
        *("take apple 1 from", "take apple 1 in fridge 1", "heat apple 1", "slice apple 1"),
        *("put apple 1 in/on fridge 1", "Look", "go to  fridge 1", "take {o} from {r}"),
    ],
)
def test_what_spells_no_command(kitchen, text):
    assert parse_command(kitchen, text) is None


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_commands_are_sorted_unique_readable_and_change_no_other_state(kitchen, data):
    state = kitchen.start
    for _ in range(25):
        commands = admissible_commands(kitchen, state)
        assert list(commands) == sorted(set(commands))
        before, successors = state, []
        for text in commands:
            command = parse_command(kitchen, text)
            assert command is not None
            assert command.verb in VERBS
            successor = apply_command(kitchen, state, command)
            assert describe_outcome(kitchen, successor, command)
            successors.append(successor)
        assert state == before
        assert state.held == -1 or state.contents == before.contents
        state = data.draw(st.sampled_from(successors))

"""The words of the game, byte for byte those of the official grammar."""

from __future__ import annotations

from declutch.envs.alfworld.dynamics import NOWHERE, Command
from declutch.envs.alfworld.world import State, World, iterate_bits

WELCOME = "-= Welcome to TextWorld, ALFRED! =-"
NOTHING_HAPPENS = "Nothing happens."
HELP = """\
Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def describe_intro(world: World) -> str:
    """The game's text in ALFWorld that the agent reads before its first action."""
    start = world.start
    if world.receptacles_at[start.location]:
        view = _describe_place(world, start)
    else:
        everything = _join([f"a {name}" for name in world.receptacle_names])
        view = _describe_middle(everything)
    return f"{WELCOME}\n\n{view}\n\n{world.task}"


def describe_outcome(world: World, state: State, command: Command) -> str:
    """The game's text in ALFWorld that answers an admissible command which led to a state."""
    verb = command.verb
    if verb == "go to":
        place = command.receptacle
        seen = _describe_receptacle(world, state, place)
        return f"You arrive at {world.receptacle_names[place]}. {seen}"
    if verb == "take":
        thing, source = (
            world.object_names[command.object],
            world.receptacle_names[command.receptacle],
        )
        return f"You pick up the {thing} from the {source}."
    if verb == "look":
        if world.receptacles_at[state.location]:
            return _describe_place(world, state)
        return _describe_middle("nothing")
    if verb == "inventory":
        return _describe_inventory(world, state)
    if verb == "help":
        return HELP
    if verb == "examine":
        if command.receptacle != NOWHERE:
            return _describe_receptacle(world, state, command.receptacle)
        return _describe_object(world, state, command.object)
    if verb == "open":
        place = command.receptacle
        seen = _describe_receptacle(world, state, place)
        return f"You open the {world.receptacle_names[place]}. {seen}"
    if verb == "close":
        return f"You close the {world.receptacle_names[command.receptacle]}."
    thing = world.object_names[command.object]
    if verb == "use":
        return f"You turn on the {thing}."
    if verb == "slice":
        return f"You sliced the {thing} with the {world.object_names[command.tool]}."
    place_name = world.receptacle_names[command.receptacle]
    if verb == "move":
        return f"You move the {thing} to the {place_name}."
    return f"You {verb} the {thing} using the {place_name}."


def name_carried(world: World, state: State) -> str:
    """The game's text for what an ALFWorld agent has in its hands, "" when there is none."""
    return "" if state.held == NOWHERE else world.object_names[state.held]


def _join(items: list[str]) -> str:
    if not items:
        return "nothing"
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])}, and {items[-1]}"


def _list_objects(world: World, bits: int) -> str:
    names = world.object_names
    return _join([f"a {names[o]}" for o in iterate_bits(bits)])


def _describe_middle(seen: str) -> str:
    return f"You are in the middle of a room. Looking quickly around you, you see {seen}."


def _describe_place(world: World, state: State) -> str:
    here = world.receptacles_at[state.location]
    facing = _join([world.receptacle_names[r] for r in here])
    lying = state.lying[state.location]
    # An object is listed once for every receptacle here that it was taken from and not put back
    # into: the official domain knows that something is absent only after it has been removed.
    beside = [
        f"a {world.object_names[o]}"
        for o in iterate_bits(lying)
        for r in here
        if state.removed[r] >> o & 1
    ]
    return f"You are facing the {facing}. Next to it, you see {_join(beside)}."


def _describe_receptacle(world: World, state: State, place: int) -> str:
    name = world.receptacle_names[place]
    if not world.openable >> place & 1:
        return f"On the {name}, you see {_list_objects(world, state.contents[place])}."
    if state.opened >> place & 1:
        inside = _list_objects(world, state.contents[place])
        return f"The {name} is open. In it, you see {inside}."
    return f"The {name} is closed."


def _describe_inventory(world: World, state: State) -> str:
    if state.held == NOWHERE:
        return "You are not carrying anything."
    return f"You are carrying: a {world.object_names[state.held]}."


def _describe_object(world: World, state: State, thing: int) -> str:
    name = world.object_names[thing]
    if world.boxes >> thing & 1:
        inside = _list_objects(world, world.box_contents[thing] & ~(1 << thing))
        return f"This is a normal {name}. In it, you see {inside}."
    is_clean = state.clean >> thing & 1
    is_hot = state.hot >> thing & 1
    is_cool = state.cool >> thing & 1
    is_sliced = state.sliced >> thing & 1
    slice_word = "sliced " if is_sliced else ""
    if is_clean and is_hot:
        return f"This is a hot and clean {slice_word}{name}."
    if is_clean and is_cool:
        return f"This is a cool and clean {slice_word}{name}."
    if is_sliced and (is_clean or is_hot or is_cool):
        word = "clean" if is_clean else "hot" if is_hot else "cool"
        return f"This is a {word} sliced {name}."
    if is_hot or is_clean or is_cool:
        word = "hot" if is_hot else "clean" if is_clean else "cold"
        return f"This is a {word} {name}."
    if world.toggleable >> thing & 1 and state.toggled >> thing & 1:
        return f"This {name} is on."
    if world.sliceable >> thing & 1 and is_sliced:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."

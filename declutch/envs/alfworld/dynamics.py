"""What can be done in a household and what it changes: pure functions of world and state.

These are the official mechanics (the PDDL domain `alfred`), with the surprises that make them
exact: heating, cooling, cleaning and using ask nothing of the appliance's door, a used lamp never
turns off, and an object taken from one of two receptacles stays in the other.
"""

from __future__ import annotations

from typing import NamedTuple

from declutch.envs.alfworld.world import Goal, State, Wanted, World, iterate_bits

NOWHERE = -1
VERBS = (
    "clean",
    "close",
    "cool",
    "examine",
    "go to",
    "heat",
    "help",
    "inventory",
    "look",
    "move",
    "open",
    "slice",
    "take",
    "use",
)


class Command(NamedTuple):
    """A command to ALFWorld's dynamics, in numbers: take object 3 from receptacle 1; -1 is nothing.

    Attributes:
        verb: one of `VERBS`.
        object, receptacle, tool: numbers in the world; `tool` is the knife that slices.
    """

    verb: str
    object: int = NOWHERE
    receptacle: int = NOWHERE
    tool: int = NOWHERE


def admissible_commands(world: World, state: State) -> tuple[str, ...]:
    """List all commands that ALFWorld's dynamics admit now, as the official engine does."""
    here = world.receptacles_at[state.location]
    names = world.receptacle_names
    opened, openable = state.opened, world.openable
    doors = [r for r in here if openable >> r & 1]
    reachable = [r for r in here if opened >> r & 1 or not openable >> r & 1]
    closing = sorted(f"close {names[r]}" for r in doors if opened >> r & 1)
    opening = sorted(f"open {names[r]}" for r in doors if not opened >> r & 1)
    examining = [f"examine {names[r]}" for r in here]
    going = world.go_commands[state.location]
    using = _using_commands(world, state, here)
    if state.held == NOWHERE:
        examining.sort()
        return (
            *closing,
            *examining,
            *going,
            "help",
            "inventory",
            "look",
            *opening,
            *_taking_commands(world, state, reachable),
            *using,
        )
    held = world.object_names[state.held]
    examining.append(f"examine {held}")
    examining.sort()
    bit = 1 << state.held
    return (
        *_treating_commands(world, "clean", held, world.cleanable & bit, world.sinks, here),
        *closing,
        *_treating_commands(world, "cool", held, world.coolable & bit, world.fridges, here),
        *examining,
        *going,
        *_treating_commands(world, "heat", held, world.heatable & bit, world.microwaves, here),
        "help",
        "inventory",
        "look",
        *sorted(f"move {held} to {names[r]}" for r in reachable if world.can_contain[r] & bit),
        *opening,
        *_slicing_commands(world, state),
        *using,
    )


def _taking_commands(world: World, state: State, reachable: list[int]) -> list[str]:
    names, found = world.object_names, []
    for r in reachable:
        bits = state.contents[r] & world.pickupable
        place = world.receptacle_names[r]
        found += [f"take {names[o]} from {place}" for o in iterate_bits(bits)]
    found.sort()
    return found


def _using_commands(world: World, state: State, here: tuple[int, ...]) -> list[str]:
    if not world.toggleable:
        return []
    bits = 0
    for r in here:
        bits |= state.contents[r]
    return sorted(f"use {world.object_names[o]}" for o in iterate_bits(bits & world.toggleable))


def _treating_commands(
    world: World, verb: str, held: str, is_treatable: int, appliances: int, here: tuple[int, ...]
) -> list[str]:
    if not is_treatable:
        return []
    names = world.receptacle_names
    return sorted(f"{verb} {held} with {names[r]}" for r in here if appliances >> r & 1)


def _slicing_commands(world: World, state: State) -> list[str]:
    if not world.knives >> state.held & 1:
        return []
    names, knife = world.object_names, world.object_names[state.held]
    bits = state.lying[state.location] & world.sliceable
    return sorted(f"slice {names[o]} with {knife}" for o in iterate_bits(bits))


def parse_command(world: World, text: str) -> Command | None:
    """Parse a command into what ALFWorld's dynamics can apply; None where they know no such one.

    Whether it is admissible now is another question: see `admissible_commands`.
    """
    verb, _, rest = text.partition(" ")
    if verb in ("look", "inventory", "help"):
        return None if rest or text != verb else Command(verb)
    objects, receptacles = world.object_numbers, world.receptacle_numbers
    if verb in ("open", "close"):
        return _found(verb, receptacle=receptacles.get(rest))
    if verb == "go":
        place = rest[3:] if rest.startswith("to ") else ""
        return _found("go to", receptacle=receptacles.get(place))
    if verb == "use":
        return _found(verb, object=objects.get(rest))
    if verb == "examine":
        if rest in receptacles:
            return Command(verb, receptacle=receptacles[rest])
        return _found(verb, object=objects.get(rest))
    if verb == "slice":
        thing, _, tool = rest.partition(" with ")
        return _found(verb, object=objects.get(thing), tool=objects.get(tool))
    preposition = _PREPOSITIONS.get(verb)
    if preposition is None:
        return None
    thing, _, place = rest.partition(preposition)
    return _found(verb, object=objects.get(thing), receptacle=receptacles.get(place))


_PREPOSITIONS = {
    "take": " from ",
    "move": " to ",
    "clean": " with ",
    "heat": " with ",
    "cool": " with ",
}


def _found(verb: str, **numbers: int | None) -> Command | None:
    if None in numbers.values():
        return None
    return Command(verb, **{key: value for key, value in numbers.items() if value is not None})


def apply_command(world: World, state: State, command: Command) -> State:
    """Apply an admissible command by ALFWorld's dynamics; the same state where it only tells."""
    verb, thing, place = command.verb, command.object, command.receptacle
    if verb == "go to":
        return state._replace(location=world.receptacle_locations[place])
    if verb == "take":
        return _take(state, thing, place)
    if verb == "move":
        return _put(state, thing, place)
    if verb == "open":
        return state._replace(opened=state.opened | 1 << place)
    if verb == "close":
        return state._replace(opened=state.opened & ~(1 << place))
    if verb == "clean":
        return state._replace(clean=state.clean | 1 << thing)
    if verb == "heat":
        return state._replace(hot=state.hot | 1 << thing, cool=state.cool & ~(1 << thing))
    if verb == "cool":
        return state._replace(cool=state.cool | 1 << thing, hot=state.hot & ~(1 << thing))
    if verb == "use":
        return state._replace(toggled=state.toggled | 1 << thing)
    if verb == "slice":
        return state._replace(sliced=state.sliced | 1 << thing)
    return state


def _replaced(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _take(state: State, thing: int, place: int) -> State:
    bit = 1 << thing
    return state._replace(
        held=thing,
        contents=_replaced(state.contents, place, state.contents[place] & ~bit),
        lying=_replaced(state.lying, state.location, state.lying[state.location] & ~bit),
        removed=_replaced(state.removed, place, state.removed[place] | bit),
    )


def _put(state: State, thing: int, place: int) -> State:
    bit = 1 << thing
    return state._replace(
        held=NOWHERE,
        contents=_replaced(state.contents, place, state.contents[place] | bit),
        lying=_replaced(state.lying, state.location, state.lying[state.location] | bit),
        removed=_replaced(state.removed, place, state.removed[place] & ~bit),
    )


def is_won(world: World, state: State) -> bool:
    """Whether a state is won by ALFWorld's dynamics: the household's goal holds in it."""
    goal = world.goal
    if goal.held is not None and not (
        state.held != NOWHERE and _matching(goal.held, state) >> state.held & 1
    ):
        return False
    if goal.lamp is not None:
        lamps = _matching(goal.lamp, state)
        if not any(state.contents[r] & lamps for r in world.receptacles_at[state.location]):
            return False
    return not goal.placed or _is_placed(goal, state)


def _matching(wanted: Wanted, state: State) -> int:
    """Set of objects that are what is wanted now."""
    bits = wanted.objects
    for quality in wanted.qualities:
        bits &= getattr(state, quality)
    return bits


def _is_placed(goal: Goal, state: State) -> bool:
    wanted = [_matching(each, state) for each in goal.placed]
    if not all(wanted):
        return False
    for r in goal.receptacles:
        found = [bits & state.contents[r] for bits in wanted]
        union = 0
        for bits in found:
            union |= bits
        # Two distinct objects exist exactly if each has a candidate and together there are two.
        if all(found) and union.bit_count() >= len(found):
            return True
    return False

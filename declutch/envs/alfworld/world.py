"""The records of one household: what never changes (`World`) and what does (`State`).

Objects, receptacles and locations are numbered in the order of their lower-case PDDL ids, which is
the order in which the game lists them. Sets of objects (or receptacles) are integers whose bit i
stands for object i (or receptacle i).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class State(NamedTuple):
    """The state of an ALFWorld `World`: all that can change; a NamedTuple, as each step builds one.

    Attributes:
        location: where the agent stands.
        held: the object in the agent's hands, -1 when they are empty.
        opened: set of open receptacles.
        contents: for each receptacle, the set of objects in or on it. An object may be in several.
        lying: for each location, the set of objects lying there; only `slice` and `look` ask.
        removed: for each receptacle, the set of objects once taken from it and not put back.
        clean, hot, cool, toggled, sliced: sets of objects.
    """

    location: int
    held: int
    opened: int
    contents: tuple[int, ...]
    lying: tuple[int, ...]
    removed: tuple[int, ...]
    clean: int
    hot: int
    cool: int
    toggled: int
    sliced: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a `World`'s goal wants one object to be, as the world records it.

    Attributes:
        objects: set of objects of the right type and nature.
        qualities: names of the `State` sets it must be in, e.g. ("clean",).
    """

    objects: int
    qualities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """Part of an ALFWorld `World`: what has to be true in the world for the game to be won.

    It is a conjunction of up to three parts; an absent part is empty.

    Attributes:
        placed: one or two distinct objects that must share one of `receptacles`.
        receptacles: where `placed` may be.
        held: what the agent must hold.
        lamp: what must stand in or on a receptacle where the agent is.
    """

    placed: tuple[Wanted, ...]
    receptacles: tuple[int, ...]
    held: Wanted | None
    lamp: Wanted | None


@dataclass(frozen=True, slots=True)
class World:
    """A compiled ALFWorld world: static facts, names, goal, initial state; shared, never changed.

    Attributes:
        task: the task as the game words it, "Your task is to: ...".
        walkthrough: the stored solution, () when the file has none.
        object_names, receptacle_names: as the agent reads them, e.g. "mug 1".
        object_types, receptacle_types: lower-case types, e.g. "mug"; "" when the file gives none.
        object_numbers, receptacle_numbers: index of each name.
        receptacle_locations: location of each receptacle.
        receptacles_at: receptacles of each location.
        can_contain: for each receptacle, the set of objects that may be put there.
        openable, sinks, microwaves, fridges: sets of receptacles.
        pickupable, cleanable, heatable, coolable, toggleable, sliceable, knives: sets of objects.
        boxes: set of objects that can hold others; `box_contents` says what is in them.
        go_commands: for each location, the sorted `go to` commands admissible there.
        goal: when the game is won.
        start: the initial state.
    """

    task: str
    walkthrough: tuple[str, ...]
    object_names: tuple[str, ...]
    receptacle_names: tuple[str, ...]
    object_types: tuple[str, ...]
    receptacle_types: tuple[str, ...]
    object_numbers: dict[str, int]
    receptacle_numbers: dict[str, int]
    receptacle_locations: tuple[int, ...]
    receptacles_at: tuple[tuple[int, ...], ...]
    can_contain: tuple[int, ...]
    openable: int
    sinks: int
    microwaves: int
    fridges: int
    pickupable: int
    cleanable: int
    heatable: int
    coolable: int
    toggleable: int
    sliceable: int
    knives: int
    boxes: int
    box_contents: tuple[int, ...]
    go_commands: tuple[tuple[str, ...], ...]
    goal: Goal
    start: State


def iterate_bits(bits: int) -> Iterator[int]:
    """Iterate over the numbers of the set bits of an ALFWorld world's object or receptacle set."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low

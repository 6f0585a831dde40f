"""A game's PDDL goal as a `Goal`: every form of the six task types, sliced objects included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from declutch.envs.alfworld.pddl import GameFileError
from declutch.envs.alfworld.world import Goal, Wanted

QUALITIES = {
    "isclean": "clean",
    "ishot": "hot",
    "iscool": "cool",
    "istoggled": "toggled",
    "issliced": "sliced",
}


@dataclass
class _Block:
    """The facts one quantified part of a goal asks for, by what they speak of."""

    unary: dict[str, set[str]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    relations: list[tuple[str, ...]] = field(default_factory=list)
    distinct: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Vocabulary:
    """The objects, receptacles and facts that the PDDL goals of ALFWorld games may speak of.

    Attributes:
        object_types: set of objects of each otype.
        receptacle_types: receptacles of each rtype.
        natures: set of objects for each unchanging fact, e.g. "cleanable".
    """

    object_types: Mapping[str, int]
    receptacle_types: Mapping[str, tuple[int, ...]]
    natures: Mapping[str, int]


def compile_goal(form: list[Any], vocabulary: Vocabulary) -> Goal:
    """Compile any of the PDDL goals, `(:goal ...)`, that ALFWorld games have into a `Goal`.

    Raises:
        GameFileError: a form that no task type has.
    """
    try:
        return _compile_goal(form, vocabulary)
    except (IndexError, TypeError, ValueError, RecursionError) as error:
        raise GameFileError(f"its goal is malformed ({error})") from error


def _compile_goal(form: list[Any], vocabulary: Vocabulary) -> Goal:
    placed: tuple[Wanted, ...] = ()
    receptacles: tuple[int, ...] = ()
    held: Wanted | None = None
    lamp: Wanted | None = None
    parts = form[1:] if form and form[0] == "and" else [form]
    for part in parts:
        block = _Block()
        _collect(part, block)
        relations = {each[0] for each in block.relations}
        if relations == {"holds"} and held is None:
            held = _compile_held(block, vocabulary)
        elif relations == {"inreceptacle"} and not placed:
            placed, receptacles = _compile_placed(block, vocabulary)
        elif "atlocation" in relations and lamp is None:
            lamp = _compile_lamp(block, vocabulary)
        else:
            raise _unknown(relations)
    return Goal(placed, receptacles, held, lamp)


def _unknown(what: object) -> GameFileError:
    return GameFileError(f"its goal is of no known form ({what})")


def _collect(form: list[Any], block: _Block) -> None:
    head = form[0] if form else ""
    if head == "and":
        for part in form[1:]:
            _collect(part, block)
    elif head == "exists":
        _collect(form[2], block)
    elif head in ("objecttype", "receptacletype"):
        name, kind = form[1], f"{head} {form[2]}"
        if block.types.setdefault(name, kind) != kind:
            raise _unknown(f"two types for {name}")
    elif head == "not" and form[1][0] == "=":
        block.distinct.append((form[1][1], form[1][2]))
    elif head in ("inreceptacle", "holds", "atlocation", "receptacleatlocation"):
        block.relations.append(tuple(form))
    elif len(form) == 2 and isinstance(head, str) and head != "not":
        block.unary.setdefault(form[1], set()).add(head)
    else:
        raise _unknown(head)


def _compile_wanted(name: str, block: _Block, vocabulary: Vocabulary) -> Wanted:
    head, _, kind = block.types.get(name, "").partition(" ")
    if head != "objecttype":
        raise _unknown(f"no object type for {name}")
    objects = vocabulary.object_types.get(kind, 0)
    qualities = []
    for fact in sorted(block.unary.get(name, ())):
        if fact in QUALITIES:
            qualities.append(QUALITIES[fact])
        elif fact in vocabulary.natures:
            objects &= vocabulary.natures[fact]
        else:
            raise _unknown(fact)
    return Wanted(objects, tuple(qualities))


def _check_names(block: _Block, names: set[str]) -> None:
    strangers = (set(block.types) | set(block.unary)) - names
    if strangers:
        raise _unknown(f"unconnected {', '.join(sorted(strangers))}")


def _compile_held(block: _Block, vocabulary: Vocabulary) -> Wanted:
    names = {each[2] for each in block.relations}
    _check_names(block, names)
    if len(names) != 1 or block.distinct:
        raise _unknown("several held objects")
    return _compile_wanted(names.pop(), block, vocabulary)


def _compile_placed(
    block: _Block, vocabulary: Vocabulary
) -> tuple[tuple[Wanted, ...], tuple[int, ...]]:
    names = sorted({each[1] for each in block.relations})
    places = {each[2] for each in block.relations}
    _check_names(block, {*names, *places})
    pairs = {frozenset(pair) for pair in block.distinct}
    if len(places) != 1 or pairs != ({frozenset(names)} if len(names) == 2 else set()):
        raise _unknown("objects placed otherwise than one or two together")
    head, _, kind = block.types.get(places.pop(), "").partition(" ")
    if head != "receptacletype" or not set(block.unary) <= set(names):
        raise _unknown("no plain receptacle type")
    wanted = tuple(_compile_wanted(name, block, vocabulary) for name in names)
    return wanted, vocabulary.receptacle_types.get(kind, ())


def _compile_lamp(block: _Block, vocabulary: Vocabulary) -> Wanted:
    facts = sorted(block.relations)
    if [each[0] for each in facts] != ["atlocation", "inreceptacle", "receptacleatlocation"]:
        raise _unknown("a lamp stands in or on a receptacle where the agent is")
    (_, _, here), (_, lamp, place), (_, other_place, there) = facts
    if (place, here) != (other_place, there) or block.distinct:
        raise _unknown("a lamp stands in or on a receptacle where the agent is")
    _check_names(block, {lamp})
    return _compile_wanted(lamp, block, vocabulary)

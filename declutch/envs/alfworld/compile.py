"""A PDDL problem compiled into a `World`: things numbered, facts as bits."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from declutch.envs.alfworld.goals import Vocabulary, compile_goal
from declutch.envs.alfworld.pddl import GameFileError
from declutch.envs.alfworld.problem import Problem
from declutch.envs.alfworld.world import State, World

_NATURES = ("pickupable", "cleanable", "heatable", "coolable", "toggleable", "sliceable")
# The types of each predicate's arguments; a fact that breaks them could not be played.
_SIGNATURES = {
    **dict.fromkeys(
        (*_NATURES, "isclean", "ishot", "iscool", "istoggled", "issliced", "isreceptacleobject"),
        ("object",),
    ),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "objecttype": ("object", "otype"),
    "receptacletype": ("receptacle", "rtype"),
    "cancontain": ("rtype", "otype"),
    "inreceptacle": ("object", "receptacle"),
    "inreceptacleobject": ("object", "object"),
    "objectatlocation": ("object", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "atlocation": ("agent", "location"),
    "holds": ("agent", "object"),
    "holdsany": ("agent",),
}


class _Index:
    """Numbers for the objects, receptacles and locations of a problem."""

    def __init__(self, problem: Problem) -> None:
        facts, kinds = problem.facts, problem.kinds
        # A thing that no fact mentions does not exist for the official engine.
        mentioned = sorted({arg for group in facts.values() for args in group for arg in args})
        strangers = [name for name in mentioned if name not in kinds]
        if strangers:
            raise GameFileError(f"its facts mention the undeclared '{strangers[0]}'")
        self.names = _name_things(mentioned)
        self.objects = self._number(mentioned, kinds, "object")
        self.receptacles = self._number(mentioned, kinds, "receptacle")
        self.locations = self._number(mentioned, kinds, "location")

    @staticmethod
    def _number(mentioned: Sequence[str], kinds: Mapping[str, str], kind: str) -> dict[str, int]:
        names = [name for name in mentioned if kinds[name] == kind]
        return {name: number for number, name in enumerate(names)}

    def object_set(self, facts: Iterable[tuple[str, ...]]) -> int:
        return sum({1 << self.objects[args[0]] for args in facts})

    def receptacle_set(self, facts: Iterable[tuple[str, ...]]) -> int:
        return sum({1 << self.receptacles[args[0]] for args in facts})


def _name_things(ids: Sequence[str]) -> dict[str, str]:
    """What the agent reads for each id, from sorted ids: numbers descend within a type."""
    stems = {}
    counts: dict[str, int] = defaultdict(int)
    for each in ids:
        stem, bar, _ = each.partition("_bar_")
        if bar:
            stems[each] = stem + ("basin" if "basin" in each else "")
            counts[stems[each]] += 1
    names = {}
    for each in ids:
        if each in stems:
            names[each] = f"{stems[each]} {counts[stems[each]]}"
            counts[stems[each]] -= 1
        else:
            names[each] = f"{each} "
    return names


def build_world(problem: Problem, task: str, walkthrough: tuple[str, ...]) -> World:
    """Compile an ALFWorld game's parsed PDDL problem into a `World` of numbered things and bits.

    Args:
        task: the sentence that states the task.
        walkthrough: commands that win; () where none is stored.
    Raises:
        GameFileError: facts that could not be played, or a goal of no known form.
    """
    _check_signatures(problem)
    index = _Index(problem)
    facts = problem.facts
    places = {index.receptacles[r]: index.locations[at] for r, at in facts["receptacleatlocation"]}
    locations = tuple(places.get(r, -1) for r in range(len(index.receptacles)))
    if -1 in locations or len(facts["receptacleatlocation"]) != len(locations):
        raise GameFileError("a receptacle does not have exactly one location")
    natures = {name: index.object_set(facts[name]) for name in _NATURES}
    natures["isreceptacleobject"] = index.object_set(facts["isreceptacleobject"])
    by_otype, by_rtype = _group_types(index, facts)
    names = tuple(sys.intern(index.names[each]) for each in index.objects)
    places_names = tuple(sys.intern(index.names[each]) for each in index.receptacles)
    receptacles_at = tuple(
        tuple(r for r, place in enumerate(locations) if place == at)
        for at in range(len(index.locations))
    )
    sets = {kind: sum(1 << r for r in members) for kind, members in by_rtype.items()}
    return World(
        task=task,
        walkthrough=walkthrough,
        object_names=names,
        receptacle_names=places_names,
        object_types=_name_types(facts["objecttype"], index.objects),
        receptacle_types=_name_types(facts["receptacletype"], index.receptacles),
        object_numbers={name: number for number, name in enumerate(names)},
        receptacle_numbers={name: number for number, name in enumerate(places_names)},
        receptacle_locations=locations,
        receptacles_at=receptacles_at,
        can_contain=_find_containable(index, facts, by_otype, by_rtype),
        openable=index.receptacle_set(facts["openable"]),
        sinks=sets.get("sinktype", 0) | sets.get("sinkbasintype", 0),
        microwaves=sets.get("microwavetype", 0),
        fridges=sets.get("fridgetype", 0),
        pickupable=natures["pickupable"],
        cleanable=natures["cleanable"],
        heatable=natures["heatable"],
        coolable=natures["coolable"],
        toggleable=natures["toggleable"],
        sliceable=natures["sliceable"],
        knives=by_otype.get("knifetype", 0) | by_otype.get("butterknifetype", 0),
        boxes=natures["isreceptacleobject"],
        box_contents=_find_box_contents(index, facts),
        go_commands=_list_go_commands(places_names, locations, len(receptacles_at)),
        goal=compile_goal(problem.goal, Vocabulary(by_otype, by_rtype, natures)),
        start=_build_start(index, facts),
    )


def _check_signatures(problem: Problem) -> None:
    for name, group in problem.facts.items():
        kinds = _SIGNATURES.get(name)
        if kinds is None:
            continue
        for args in group:
            if tuple(map(problem.kinds.get, args)) != kinds:
                raise GameFileError(
                    f"its fact ({' '.join((name, *args))}) is not about {' and '.join(kinds)}"
                )


def _group_types(
    index: _Index, facts: Mapping[str, list[tuple[str, ...]]]
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Set of objects by otype, and receptacles by rtype."""
    by_otype: dict[str, int] = defaultdict(int)
    for thing, kind in facts["objecttype"]:
        by_otype[kind] |= 1 << index.objects[thing]
    members: dict[str, set[int]] = defaultdict(set)
    for place, kind in facts["receptacletype"]:
        members[kind].add(index.receptacles[place])
    return dict(by_otype), {kind: tuple(sorted(each)) for kind, each in members.items()}


def _name_types(facts: Iterable[tuple[str, ...]], numbers: Mapping[str, int]) -> tuple[str, ...]:
    kinds = {name: sys.intern(kind.removesuffix("type")) for name, kind in facts}
    return tuple(kinds.get(name, "") for name in numbers)


def _find_containable(
    index: _Index,
    facts: Mapping[str, list[tuple[str, ...]]],
    by_otype: Mapping[str, int],
    by_rtype: Mapping[str, tuple[int, ...]],
) -> tuple[int, ...]:
    allowed = [0] * len(index.receptacles)
    for rtype, otype in facts["cancontain"]:
        for r in by_rtype.get(rtype, ()):
            allowed[r] |= by_otype.get(otype, 0)
    return tuple(allowed)


def _find_box_contents(
    index: _Index, facts: Mapping[str, list[tuple[str, ...]]]
) -> tuple[int, ...]:
    contents = [0] * len(index.objects)
    for inner, outer in facts["inreceptacleobject"]:
        contents[index.objects[outer]] |= 1 << index.objects[inner]
    return tuple(contents)


def _list_go_commands(
    names: Sequence[str], locations: Sequence[int], num_locations: int
) -> tuple[tuple[str, ...], ...]:
    commands = sorted((sys.intern(f"go to {name}"), locations[r]) for r, name in enumerate(names))
    return tuple(
        tuple(command for command, place in commands if place != at) for at in range(num_locations)
    )


def _build_start(index: _Index, facts: Mapping[str, list[tuple[str, ...]]]) -> State:
    places = {index.locations[at] for _, at in facts["atlocation"]}
    if len(places) != 1:
        raise GameFileError("the agent does not start at exactly one location")
    held = {index.objects[thing] for _, thing in facts["holds"]}
    if len(held) > 1 or bool(held) != bool(facts["holdsany"]):
        raise GameFileError("the agent's hands are neither empty nor around one object")
    contents = [0] * len(index.receptacles)
    for thing, place in facts["inreceptacle"]:
        contents[index.receptacles[place]] |= 1 << index.objects[thing]
    lying = [0] * len(index.locations)
    for thing, place in facts["objectatlocation"]:
        lying[index.locations[place]] |= 1 << index.objects[thing]
    return State(
        location=places.pop(),
        held=held.pop() if held else -1,
        opened=index.receptacle_set(facts["opened"]),
        contents=tuple(contents),
        lying=tuple(lying),
        removed=(0,) * len(contents),
        clean=index.object_set(facts["isclean"]),
        hot=index.object_set(facts["ishot"]),
        cool=index.object_set(facts["iscool"]),
        toggled=index.object_set(facts["istoggled"]),
        sliced=index.object_set(facts["issliced"]),
    )

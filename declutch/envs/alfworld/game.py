"""From an official `game.tw-pddl` file to a compiled `World`, kept in a cache on disk."""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import re
import sys
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from declutch.envs.alfworld import rules
from declutch.envs.alfworld.goals import Vocabulary, compile_goal
from declutch.envs.alfworld.rules import RuleError
from declutch.envs.alfworld.world import Goal, State, Wanted, World
from declutch.errors import UserError

# Part of every cache entry's name: raise it whenever `World` or its meaning changes.
CACHE_VERSION = 1
_FACT = re.compile(r"\(\s*([^\s()]+)((?:\s+[^\s()]+)*)\s*\)")
_COST = re.compile(r"\(\s*=\s*\([^()]*\)\s*[^\s()]+\s*\)")
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


def load_world(path: Path, cache_dir: Path | None = None) -> World:
    """The compiled game in `path`.

    Args:
        path: an official `game.tw-pddl` file, or one that states the same rules.
        cache_dir: where compiled games are kept, by content; None for no cache. Any number of
            processes may share it, and a damaged entry is made anew.
    Raises:
        UserError: the file is missing, truncated, no game, or states other rules; or the cache
            cannot be written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the game file {path}: {error.strerror}") from error
    if cache_dir is None:
        return _compile(content, path)
    entry = _entry_path(content, cache_dir)
    cached = _read_entry(entry)
    if cached is not None:
        return cached
    world = _compile(content, path)
    _write_entry(entry, world)
    return world


def _compile(content: bytes, path: Path) -> World:
    try:
        return compile_game(json.loads(content))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"the game file {path} is truncated or no JSON ({error}); download or generate it anew"
        ) from error
    except RuleError as error:
        raise UserError(
            f"the game file {path} cannot be played by this engine: {error}; "
            "the reference engine (extra 'textworld') may be able to"
        ) from error


def compile_game(data: Any) -> World:
    """Compile a game file's content, its parsed JSON.

    Raises:
        RuleError: says what is wrong with the content.
    """
    texts = ("pddl_domain", "grammar", "pddl_problem")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in texts):
        raise RuleError(f"it is not an object with the texts {', '.join(texts)}")
    task, grammar = rules.split_task(data["grammar"])
    _check_rules(data["pddl_domain"], grammar)
    problem = _parse_problem(data["pddl_problem"])
    walkthrough = data.get("walkthrough") or []
    if not isinstance(walkthrough, list):
        raise RuleError("its walkthrough is not a list of commands")
    return _build_world(problem, task, tuple(map(str, walkthrough)))


@lru_cache(maxsize=4)
def _check_rules(domain: str, grammar: str) -> None:
    """Refuse rules that are not the official ones. Cached: a release repeats the same texts."""
    if rules.fingerprint_domain(domain) != rules.OFFICIAL_DOMAIN:
        raise RuleError("its PDDL domain states other rules than ALFWorld's (json_2.1.1)")
    if rules.fingerprint_grammar(grammar) != rules.OFFICIAL_GRAMMAR:
        raise RuleError("its grammar words answers otherwise than ALFWorld's (json_2.1.1)")


def clear_rule_memory() -> None:
    """Forget which rules were found to be the official ones; for measuring a first load."""
    _check_rules.cache_clear()


@dataclass(frozen=True)
class _Problem:
    """A PDDL problem: type of each declared thing, arguments of each fact by predicate, goal."""

    kinds: Mapping[str, str]
    facts: Mapping[str, list[tuple[str, ...]]]
    goal: list[Any]


def _parse_problem(text: str) -> _Problem:
    text = re.sub(r";[^\n]*", "", text).lower() if ";" in text else text.lower()
    init, goal = text.find("(:init"), text.find("(:goal")
    objects = re.search(r"\(\s*:objects([^()]*)\)", text)
    if objects is None or not 0 <= init < goal:
        raise RuleError("its problem lacks objects, initial facts or a goal")
    kinds = dict(rules.parse_typed_list(objects[1].split()))
    facts: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    stated = text[init + len("(:init") : goal]
    if "=" in stated:
        stated = _COST.sub(" ", stated)
    for name, arguments in _FACT.findall(stated):
        facts[name].append(tuple(arguments.split()))
    if _FACT.sub("", stated).split() != [")"]:
        raise RuleError("its initial facts cannot be read")
    return _Problem(kinds, facts, _parse_goal(text[goal:]))


def _parse_goal(text: str) -> list[Any]:
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            form = rules.parse_lisp(text[: match.end()])
            if len(form) == 2 and isinstance(form[1], list):
                return form[1]
            break
    raise RuleError("its goal cannot be read")


class _Index:
    """Numbers for the objects, receptacles and locations of a problem."""

    def __init__(self, problem: _Problem) -> None:
        facts, kinds = problem.facts, problem.kinds
        # A thing that no fact mentions does not exist for the official engine.
        mentioned = sorted({arg for group in facts.values() for args in group for arg in args})
        strangers = [name for name in mentioned if name not in kinds]
        if strangers:
            raise RuleError(f"its facts mention the undeclared '{strangers[0]}'")
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


def _build_world(problem: _Problem, task: str, walkthrough: tuple[str, ...]) -> World:
    _check_signatures(problem)
    index = _Index(problem)
    facts = problem.facts
    places = {index.receptacles[r]: index.locations[at] for r, at in facts["receptacleatlocation"]}
    locations = tuple(places.get(r, -1) for r in range(len(index.receptacles)))
    if -1 in locations or len(facts["receptacleatlocation"]) != len(locations):
        raise RuleError("a receptacle does not have exactly one location")
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


def _check_signatures(problem: _Problem) -> None:
    for name, group in problem.facts.items():
        kinds = _SIGNATURES.get(name)
        if kinds is None:
            continue
        for args in group:
            if tuple(map(problem.kinds.get, args)) != kinds:
                raise RuleError(
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
        raise RuleError("the agent does not start at exactly one location")
    held = {index.objects[thing] for _, thing in facts["holds"]}
    if len(held) > 1 or bool(held) != bool(facts["holdsany"]):
        raise RuleError("the agent's hands are neither empty nor around one object")
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


_PLAIN_FIELDS = tuple(each.name for each in fields(World) if each.name not in ("goal", "start"))


def _entry_path(content: bytes, cache_dir: Path) -> Path:
    # marshal's format may change with the interpreter, so its version is part of the name too.
    python = f"{sys.version_info.major}{sys.version_info.minor}"
    digest = hashlib.sha256(content).hexdigest()
    return cache_dir / f"v{CACHE_VERSION}-py{python}" / digest[:2] / f"{digest[2:]}.world"


def _read_entry(entry: Path) -> World | None:
    """The cached world, or None where there is none or it is damaged."""
    try:
        blob = entry.read_bytes()
    except OSError:
        return None
    payload = blob[4:]
    if len(blob) < 4 or int.from_bytes(blob[:4], "big") != zlib.crc32(payload):
        return None
    try:
        return _unpack(marshal.loads(payload))
    except (ValueError, TypeError, EOFError):
        return None


def _write_entry(entry: Path, world: World) -> None:
    payload = marshal.dumps(_pack(world))
    blob = zlib.crc32(payload).to_bytes(4, "big") + payload
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=entry.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(blob)
            os.replace(temporary, entry)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write the compiled game {entry}: {error.strerror}; free some space there or "
            "choose another cache directory"
        ) from error


def _pack(world: World) -> tuple[Any, ...]:
    """The world as nested plain tuples, which is all that marshal takes."""
    values = [getattr(world, name) for name in _PLAIN_FIELDS]
    goal = world.goal
    parts = [*goal.placed, *(each for each in (goal.held, goal.lamp) if each is not None)]
    wanted = tuple((each.objects, each.qualities) for each in parts)
    shape = (len(goal.placed), goal.held is not None, goal.lamp is not None)
    return (*values, (wanted, shape, goal.receptacles), tuple(world.start))


def _unpack(packed: tuple[Any, ...]) -> World:
    *values, (wanted, shape, receptacles), start = packed
    parts = [Wanted(objects, qualities) for objects, qualities in wanted]
    num_placed, has_held, has_lamp = shape
    rest = parts[num_placed:]
    goal = Goal(
        placed=tuple(parts[:num_placed]),
        receptacles=receptacles,
        held=rest[0] if has_held else None,
        lamp=rest[-1] if has_lamp else None,
    )
    plain = dict(zip(_PLAIN_FIELDS, values, strict=True))
    return World(**plain, goal=goal, start=State(*start))

"""What an agent that only reads text knows about a household: a belief, updated purely.

The belief is built from the intro, the observation after every action and the admissible
commands, and from nothing else; it can be wrong about what it has not looked at, and never about
what it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from declutch.envs.protocol import Observation
from declutch.ground.errors import UserError

PROPERTY_OF = {"clean": "clean", "heat": "hot", "cool": "cool"}
_VERB_OF = {"clean": "clean", "hot": "heat", "cool": "cool"}
_OPPOSITE = {"hot": "cool", "cool": "hot"}

_TASK = re.compile(r"Your task is to: (?P<task>[^\n]*?)\.?\s*$")
_GOAL = re.compile(
    r"(?:examine the (?P<look_a>.+) with the (?P<lamp_a>.+)"
    r"|look at (?P<look_b>.+) under the (?P<lamp_b>.+)"
    r"|(?P<verb>clean|heat|cool) some (?P<processed>.+) and put it (?:in|on) (?P<place_a>.+)"
    r"|(?:put|find) two (?P<pair>.+?) (?:in|on|and put them (?:in|on)) (?P<place_b>.+)"
    r"|put (?:an?|some) (?:(?P<property>clean|hot|cool) )?(?P<single>.+) (?:in|on) (?P<place_c>.+))"
)
_LISTING = re.compile(r"you see (?P<things>[^.]*)\.")
_VIEW = re.compile(
    r"(?:On the (?P<surface>[^.,]+)|The (?P<box>[^.,]+) is open\. In it)"
    r", you see (?P<things>[^.]*)\."
)
_DONE = re.compile(
    r"You (?:pick up the (?P<taken>.+) from the (?P<source>.+)"
    r"|move the (?P<moved>.+) to the (?P<place>.+)"
    r"|(?P<verb>clean|heat|cool) the (?P<processed>.+) using the .+"
    r"|turn on the (?P<lamp>.+))\.$"
)


@dataclass(frozen=True)
class Goal:
    """A goal in an ALFWorld agent's memory, from its sentence: what to do, with what, and where.

    Attributes:
        object_type: what has to be moved or looked at.
        receptacle_type: where it has to end up, "" when it has to be held under a lamp.
        lamp_type: the lamp to look at it under, "" otherwise.
        process: "clean", "heat", "cool" or "".
        count: how many objects, 1 or 2, must end up in the same receptacle.
    """

    object_type: str
    receptacle_type: str = ""
    lamp_type: str = ""
    process: str = ""
    count: int = 1


@dataclass(frozen=True)
class Belief:
    """The memory of an ALFWorld agent who only reads text: its belief; never changed in place.

    Attributes:
        goal: the task.
        receptacles: every receptacle of the intro, in its order.
        here: receptacles at the agent's place.
        admissible: the commands that would do something now.
        contents: what was last seen in each receptacle that has been searched.
        lamps: things that can be used, each with a receptacle where it can be.
        closed, opened: receptacles known to be so.
        held: the object in hand, "" when none.
        origin: the receptacle the held object was taken from.
        properties: pairs (object, "clean" | "hot" | "cool").
        lit: lamps turned on so far.
        fixed: things that turned out not to be takeable.
        refusals: pairs (object type, receptacle type) that do not go together.
        num_steps: actions played so far.
    """

    goal: Goal
    receptacles: tuple[str, ...]
    here: frozenset[str]
    admissible: frozenset[str]
    contents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lamps: Mapping[str, str] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    opened: frozenset[str] = frozenset()
    held: str = ""
    origin: str = ""
    properties: frozenset[tuple[str, str]] = frozenset()
    lit: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    refusals: frozenset[tuple[str, str]] = frozenset()
    num_steps: int = 0


def type_of(name: str) -> str:
    """The type of a numbered thing in an ALFWorld memory: "alarmclock 2" is an "alarmclock"."""
    return name.rsplit(" ", 1)[0]


def parse_goal(text: str) -> Goal:
    """Read into the memory of an ALFWorld agent what its task is, from the first observation.

    The task may be stated in any of the wordings that games have for it.

    Raises:
        UserError: the text states no task, or one in unknown words.
    """
    stated = _TASK.search(text)
    if stated is None:
        raise UserError(f"no 'Your task is to:' line in the first observation: {text[:120]!r}")
    words = _GOAL.fullmatch(stated["task"])
    if words is None:
        raise UserError(
            f"unknown household task {stated['task']!r}: the expert knows the twelve sentences of "
            "ALFWorld's task templates (put, clean, heat, cool, find two, look at)"
        )
    if look := words["look_a"] or words["look_b"]:
        return Goal(look, lamp_type=words["lamp_a"] or words["lamp_b"])
    if words["pair"]:
        return Goal(words["pair"], words["place_b"], count=2)
    if words["verb"]:
        return Goal(words["processed"], words["place_a"], process=words["verb"])
    process = _VERB_OF[words["property"]] if words["property"] else ""
    return Goal(words["single"], words["place_c"], process=process)


def parse_things(listing: str) -> tuple[str, ...]:
    """Read, for an ALFWorld agent's memory, a list such as "a mug 2, a pen 1, and a cd 3"."""
    parts = (part.removeprefix("and ") for part in listing.split(", "))
    return tuple(part.split(" ", 1)[1] for part in parts if part[:2] in ("a ", "an"))


def initial_belief(observation: Observation) -> Belief:
    """Make an ALFWorld agent's memory, its belief, from the first observation.

    Raises:
        UserError: the text states no known task.
    """
    goal = parse_goal(observation.text)
    listing = _LISTING.search(observation.text)
    things = parse_things(listing["things"]) if listing else ()
    start = Belief(goal, things, frozenset(), frozenset())
    return _read_commands(start, observation.admissible)


def update_belief(belief: Belief, action: str, observation: Observation) -> Belief:
    """Update an ALFWorld agent's memory by an action, anyone's, and the observation after it."""
    after = _read_effect(belief, observation.text)
    view = _VIEW.search(observation.text)
    contents = dict(after.contents)
    if view is not None and not action.startswith("look"):
        contents[view["surface"] or view["box"]] = frozenset(parse_things(view["things"]))
    after = replace(after, contents=contents, num_steps=belief.num_steps + 1)
    return _read_commands(after, observation.admissible)


def places_of(belief: Belief, kind: str) -> dict[str, list[str]]:
    """Find objects of a type in an ALFWorld agent's memory, with the receptacles they were seen in.

    An object can be in several receptacles, and one that is taken stays in the others: such are the
    mechanics of the game.
    """
    prefix = f"{kind} "
    found: dict[str, list[str]] = {}
    for place, things in belief.contents.items():
        for thing in things:
            if thing.startswith(prefix) and thing != belief.held:
                found.setdefault(thing, []).append(place)
    return found


def _read_effect(belief: Belief, text: str) -> Belief:
    done = _DONE.match(text)
    if done is None:
        return belief
    if thing := done["taken"]:
        contents = dict(belief.contents)
        contents[done["source"]] = contents.get(done["source"], frozenset()) - {thing}
        return replace(belief, contents=contents, held=thing, origin=done["source"])
    if thing := done["moved"]:
        contents = dict(belief.contents)
        contents[done["place"]] = contents.get(done["place"], frozenset()) | {thing}
        return replace(belief, contents=contents, held="", origin="")
    if done["verb"]:
        gained = PROPERTY_OF[done["verb"]]
        properties = _gain(belief.properties, done["processed"], gained)
        return replace(belief, properties=properties)
    return replace(belief, lit=belief.lit | {done["lamp"]})


def _gain(
    properties: frozenset[tuple[str, str]], thing: str, gained: str
) -> frozenset[tuple[str, str]]:
    lost = {(thing, _OPPOSITE[gained])} if gained in _OPPOSITE else set()
    return (properties - lost) | {(thing, gained)}


def _read_commands(belief: Belief, admissible: tuple[str, ...]) -> Belief:
    """Admissible commands tell what is here, what is open and, with free hands, what lies here."""
    known = frozenset(belief.receptacles)
    here, closed, opened, usable = set(), set(), set(), set()
    takeable: dict[str, set[str]] = {}
    for command in admissible:
        if command.startswith("go to "):
            continue
        verb, _, rest = command.partition(" ")
        if verb == "examine" and rest in known:
            here.add(rest)
        elif verb == "take":
            thing, _, place = rest.partition(" from ")
            takeable.setdefault(place, set()).add(thing)
        elif verb == "open":
            closed.add(rest)
        elif verb == "close":
            opened.add(rest)
        elif verb == "use":
            usable.add(rest)
    after = replace(
        belief,
        here=frozenset(here),
        admissible=frozenset(admissible),
        closed=(belief.closed - opened) | closed,
        opened=(belief.opened - closed) | opened,
        lamps=_place_lamps(belief, here, usable),
    )
    if belief.held:
        return _see_refusals(after, here - closed)
    return _see_takeable(after, here - closed, takeable)


def _see_refusals(belief: Belief, accessible: set[str]) -> Belief:
    """Note what receptacles refuse: the held object is within reach, but no command puts it in."""
    held = belief.held
    kind = type_of(held)
    refusals = {
        (kind, type_of(place))
        for place in accessible
        if f"move {held} to {place}" not in belief.admissible
    }
    return replace(belief, refusals=belief.refusals | refusals) if refusals else belief


def _place_lamps(belief: Belief, here: set[str], usable: set[str]) -> Mapping[str, str]:
    """Note where lamps are: in any of the receptacles here, as it makes no difference in which."""
    new = usable - belief.lamps.keys()
    return {**belief.lamps, **dict.fromkeys(new, min(here))} if new and here else belief.lamps


def _see_takeable(belief: Belief, accessible: set[str], takeable: Mapping[str, set[str]]) -> Belief:
    """Note what lies here, and what of it can never be taken, as it cannot be with free hands."""
    contents = dict(belief.contents)
    fixed = belief.fixed
    for place in accessible:
        seen = contents.get(place, frozenset())
        offered = takeable.get(place, set())
        fixed |= seen - offered
        contents[place] = seen | offered
    return replace(belief, contents=contents, fixed=fixed)

"""The domain and the grammar that every generated household shares, as a game file wants them.

Both texts say what the official ALFWorld files say (same predicates, actions, preconditions,
effects, productions), in a form of our own, so that any engine plays them identically. Two oddities
of the official domain are kept because they can be observed: the type `location,` (with a comma) in
`examineObject`, which matches nothing and leaves only held objects to be examined, and the twin
`when` of `ToggleObject`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

DOMAIN: Final = """\
(define (domain alfred)
(:requirements :adl :action-costs :typing)
(:types agent location receptacle object rtype otype)
(:predicates
 (atLocation ?a - agent ?l - location)
 (receptacleAtLocation ?r - receptacle ?l - location)
 (objectAtLocation ?o - object ?l - location)
 (openable ?r - receptacle) (opened ?r - receptacle)
 (inReceptacle ?o - object ?r - receptacle)
 (isReceptacleObject ?o - object)
 (inReceptacleObject ?innerObject - object ?outerObject - object)
 (isReceptacleObjectFull ?o - object)
 (wasInReceptacle ?o - object ?r - receptacle)
 (checked ?r - receptacle) (examined ?l - location)
 (receptacleType ?r - receptacle ?t - rtype)
 (canContain ?rt - rtype ?ot - otype)
 (objectType ?o - object ?t - otype)
 (holds ?a - agent ?o - object) (holdsAny ?a - agent)
 (holdsAnyReceptacleObject ?a - agent)
 (full ?r - receptacle)
 (isClean ?o - object) (cleanable ?o - object)
 (isHot ?o - object) (heatable ?o - object)
 (isCool ?o - object) (coolable ?o - object)
 (pickupable ?o - object) (moveable ?o - object)
 (toggleable ?o - object) (isOn ?o - object) (isToggled ?o - object)
 (sliceable ?o - object) (isSliced ?o - object))
(:functions (distance ?from ?to) (total-cost) - number)
(:action look :parameters (?a - agent ?l - location)
 :precondition (and (atLocation ?a ?l)) :effect (and (checked ?l)))
(:action inventory :parameters (?a - agent)
 :precondition () :effect (and (checked ?a)))
(:action examineReceptacle :parameters (?a - agent ?r - receptacle)
 :precondition (and (exists (?l - location)
  (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l))))
 :effect (and (checked ?r)))
(:action examineObject :parameters (?a - agent ?o - object)
 :precondition (or
  (exists (?l - location, ?r - receptacle)
   (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r)
    (or (not (openable ?r)) (opened ?r))))
  (holds ?a ?o))
 :effect (and (checked ?o)))
(:action GotoLocation
 :parameters (?a - agent ?lStart - location ?lEnd - location ?r - receptacle)
 :precondition (and (atLocation ?a ?lStart) (receptacleAtLocation ?r ?lEnd))
 :effect (and (not (atLocation ?a ?lStart)) (atLocation ?a ?lEnd) (increase (total-cost) 1)))
(:action OpenObject :parameters (?a - agent ?l - location ?r - receptacle)
 :precondition (and (openable ?r) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
  (not (opened ?r)))
 :effect (and (opened ?r) (checked ?r) (increase (total-cost) 1)))
(:action CloseObject :parameters (?a - agent ?l - location ?r - receptacle)
 :precondition (and (openable ?r) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (opened ?r))
 :effect (and (not (opened ?r)) (increase (total-cost) 1)))
(:action PickupObject :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
 :precondition (and (pickupable ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
  (inReceptacle ?o ?r) (not (holdsAny ?a)) (or (not (openable ?r)) (opened ?r)))
 :effect (and (not (inReceptacle ?o ?r)) (holds ?a ?o) (holdsAny ?a)
  (not (objectAtLocation ?o ?l)) (increase (total-cost) 1)))
(:action PutObject
 :parameters (?a - agent ?l - location ?o - object ?r - receptacle ?ot - otype ?rt - rtype)
 :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
  (or (not (openable ?r)) (opened ?r))
  (objectType ?o ?ot) (receptacleType ?r ?rt) (canContain ?rt ?ot))
 :effect (and (inReceptacle ?o ?r) (objectAtLocation ?o ?l) (not (holds ?a ?o))
  (not (holdsAny ?a)) (increase (total-cost) 1)))
(:action CleanObject :parameters (?a - agent ?l - location ?r - receptacle ?o - object)
 :precondition (and (cleanable ?o)
  (or (receptacleType ?r SinkType) (receptacleType ?r SinkBasinType))
  (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (holds ?a ?o))
 :effect (and (increase (total-cost) 5) (isClean ?o)))
(:action HeatObject :parameters (?a - agent ?l - location ?r - receptacle ?o - object)
 :precondition (and (heatable ?o) (or (receptacleType ?r MicrowaveType))
  (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (holds ?a ?o))
 :effect (and (increase (total-cost) 5) (isHot ?o) (not (isCool ?o))))
(:action CoolObject :parameters (?a - agent ?l - location ?r - receptacle ?o - object)
 :precondition (and (coolable ?o) (or (receptacleType ?r FridgeType))
  (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (holds ?a ?o))
 :effect (and (increase (total-cost) 5) (isCool ?o) (not (isHot ?o))))
(:action ToggleObject :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
 :precondition (and (toggleable ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
  (inReceptacle ?o ?r))
 :effect (and (increase (total-cost) 5) (when (isOn ?o) (not (isOn ?o)))
  (when (not (isOn ?o)) (isOn ?o)) (isToggled ?o)))
(:action SliceObject :parameters (?a - agent ?l - location ?co - object ?ko - object)
 :precondition (and (sliceable ?co)
  (or (objectType ?ko KnifeType) (objectType ?ko ButterKnifeType))
  (atLocation ?a ?l) (objectAtLocation ?co ?l) (holds ?a ?ko))
 :effect (and (increase (total-cost) 5) (isSliced ?co)))
(:action help :parameters (?a - agent)
 :precondition () :effect (and (checked ?a)))
)
"""

# A production is its text, or a pair (condition, text); the first whose condition holds is used.
Productions = Mapping[str, Sequence[str | tuple[str, str]]]

_HOT, _CLEAN, _COOL = "ishot(o:object)", "isclean(o:object)", "iscool(o:object)"
_SLICED, _LAMP = "issliced(o:object)", "toggleable(o:object)"
_OPENABLE, _OPEN = "openable(r:receptacle)", "openable(r:receptacle) & opened(r:receptacle)"
_INSIDE = "[{o.indefinite + ' ' + o.name | inreceptacle(o:object, r:receptacle)}]"
_INNER = "[{o2.indefinite + ' ' + o2.name | inreceptacleobject(o2:object, o:object)}]"
_STANDING = "atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)"
_LOOSE = (
    "atlocation(a:agent, l:location) & objectatlocation(o:object, l:location) & "
    "receptacleatlocation(r:receptacle, l:location) & not_inreceptacle(o:object, r:receptacle)"
)
_ANYWHERE = "receptacleatlocation(r:receptacle, l:location)"

_TASK_MARK: Final = "@TASK@"

_SHARED: Final[Productions] = {
    "intro": ["-= Welcome to TextWorld, ALFRED! =-\n\n#look.feedback#\n\n#task#"],
    "notImplemented": ["TODO"],
    "task": [_TASK_MARK],
    "GotoLocation.feedback": ["You arrive at {r.name}. #examineReceptacle.feedback#"],
    "OpenObject.feedback": ["You open the {r.name}. #examineReceptacle.feedback#"],
    "CloseObject.feedback": ["You close the {r.name}."],
    "PickupObject.feedback": ["You pick up the {o.name} from the {r.name}."],
    "PickupObjectFromReceptacleObject.feedback": [
        "PickupObjectFromReceptacleObject: You pick up the {o.name}."
    ],
    "PickupEmptyReceptacleObject.feedback": [
        "PickupEmptyReceptacleObject: You pick up the {o.name}."
    ],
    "PickupFullReceptacleObject.feedback": [
        "PickupFullReceptacleObject: You pick up the {outerr.name}."
    ],
    "PutObject.feedback": ["You move the {o.name} to the {r.name}."],
    "PutObjectInReceptacleObject.feedback": [
        "PutObjectInReceptacleObject: You put the {o.name} in the {outero.name}."
    ],
    "PutEmptyReceptacleObjectinReceptacle.feedback": [
        "PutEmptyReceptacleObjectinReceptacle: You put the {o.name} in the {r.name}."
    ],
    "PutFullReceptacleObjectInReceptacle.feedback": [
        "PutFullReceptacleObjectInReceptacle: You put the {outero.name} in the {r.name}."
    ],
    "inventory.feedback": [
        (
            "holdsany(a:agent)",
            "You are carrying: [{o.indefinite + ' ' + o.name | holds(a:agent, o:object)}].",
        ),
        "You are not carrying anything.",
    ],
    "examineReceptacle.feedback": [
        (_OPEN, f"The {{r.name}} is open. In it, you see {_INSIDE}."),
        (_OPENABLE, "The {r.name} is closed."),
        f"On the {{r.name}}, you see {_INSIDE}.",
    ],
    "examineObject.feedback": [
        (
            "isreceptacleobject(o:object)",
            f"This is a normal {{o.name}}. In it, you see {_INNER}.",
        ),
        (f"{_CLEAN} & {_HOT} & {_SLICED}", "This is a hot and clean sliced {o.name}."),
        (f"{_CLEAN} & {_COOL} & {_SLICED}", "This is a cool and clean sliced {o.name}."),
        (f"{_CLEAN} & {_SLICED}", "This is a clean sliced {o.name}."),
        (f"{_HOT} & {_SLICED}", "This is a hot sliced {o.name}."),
        (f"{_COOL} & {_SLICED}", "This is a cool sliced {o.name}."),
        (f"{_CLEAN} & {_HOT}", "This is a hot and clean {o.name}."),
        (f"{_CLEAN} & {_COOL}", "This is a cool and clean {o.name}."),
        (_HOT, "This is a hot {o.name}."),
        (_CLEAN, "This is a clean {o.name}."),
        (_COOL, "This is a cold {o.name}."),
        (f"{_LAMP} & istoggled(o:object)", "This {o.name} is on."),
        (f"{_LAMP} & not_istoggled(o:object)", "This {o.name} is off."),
        (f"sliceable(o:object) & {_SLICED}", "This is a sliced {o.name}."),
        "There's nothing special about {o.name}.",
    ],
}

_LOOK: Final[Productions] = {
    "look.feedback": [
        (_STANDING, "#look-variations#. Next to it, you see #list_objects_on_the_floor#."),
        "You are in the middle of a room. Looking quickly around you, you see #list_appliances#.",
    ],
    "look-variations": [f"You are facing the [{{r.name | {_STANDING}}}]"],
    "list_objects_on_the_floor": [(_LOOSE, f"[{{#overview(o)# | {_LOOSE}}}]"), "nothing"],
    "list_appliances": [(_ANYWHERE, f"[{{#overview(r)# | {_ANYWHERE}}}]"), "nothing"],
    "overview(o, r)": ["{o.indefinite} {o.name} (in/on the {r.name})}"],
    "overview(o)": ["{o.indefinite} {o.name}"],
    "overview(r)": ["{r.indefinite} {r.name or r.id}"],
    "overview_with_state(r)": ["{r.indefinite} {r.name or r.id}#overview_state(r)#"],
    "overview_state(r)": [(_OPEN, " (it is open)"), (_OPENABLE, " (it is closed)"), ""],
    "list_empty": ["nothing"],
    "list_separator": [", "],
    "list_last_separator": [", and "],
}

_TOGGLE: Final[Productions] = {
    "toggleObject.feedback": [
        (f"{_LAMP} & istoggled(o:object)", "You turn on the {o.name}."),
        (_LAMP, "You turn off the {o.name}."),
        "You don't see any switch on the {o.name}.",
    ]
}

# What each command does in words, in the order in which `help` lists them.
_HELP: Final = (
    ("look", "look around your current location"),
    ("inventory", "check your current inventory"),
    ("go to (receptacle)", "move to a receptacle"),
    ("open (receptacle)", "open a receptacle"),
    ("close (receptacle)", "close a receptacle"),
    ("take (object) from (receptacle)", "take an object from a receptacle"),
    ("move (object) to (receptacle)", "place an object in or on a receptacle"),
    ("examine (something)", "examine a receptacle or an object"),
    ("use (object)", "use an object"),
    ("heat (object) with (receptacle)", "heat an object using a receptacle"),
    ("clean (object) with (receptacle)", "clean an object using a receptacle"),
    ("cool (object) with (receptacle)", "cool an object using a receptacle"),
    ("slice (object) with (object)", "slice an object using a sharp object"),
)


def _help_text() -> str:
    lines = [f"  {command + ':':<34}{meaning}" for command, meaning in _HELP]
    # The official text is two spaces short in this one line.
    lines[6] = lines[6].replace(":    place", ":  place")
    return "\nAvailable commands:\n" + "\n".join(lines) + "\n"


def _process(verb: str) -> Productions:
    return {f"{verb}Object.feedback": [f"You {verb} the {{o.name}} using the {{r.name}}."]}


# action: (template, feedback, productions of its own)
_ACTIONS: Final[tuple[tuple[str, str, str, Productions], ...]] = (
    (
        "GotoLocation",
        "go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]",
        "#GotoLocation.feedback#",
        {},
    ),
    ("OpenObject", "open {r}", "#OpenObject.feedback#", {}),
    ("CloseObject", "close {r}", "#CloseObject.feedback#", {}),
    ("PickupObject", "take {o} from {r}", "#PickupObject.feedback#", {}),
    (
        "PickupObjectFromReceptacleObject",
        "take {o} from {r}",
        "#PickupObjectFromReceptacleObject.feedback#",
        {},
    ),
    (
        "PickupEmptyReceptacleObject",
        "take {o} from {r}",
        "#PickupEmptyReceptacleObject.feedback#",
        {},
    ),
    (
        "PickupFullReceptacleObject",
        "take {outerr} from {r}",
        "#PickupFullReceptacleObject.feedback#",
        {},
    ),
    ("PutObject", "move {o} to {r}", "#PutObject.feedback#", {}),
    (
        "PutObjectInReceptacleObject",
        "put {o} into {outero}",
        "#PutObjectInReceptacleObject.feedback#",
        {},
    ),
    (
        "PutEmptyReceptacleObjectinReceptacle",
        "move {o} to {r}",
        "#PutEmptyReceptacleObjectinReceptacle.feedback#",
        {},
    ),
    (
        "PutFullReceptacleObjectInReceptacle",
        "put {outero} in {r}",
        "#PutFullReceptacleObjectInReceptacle.feedback#",
        {},
    ),
    ("inventory", "inventory", "#inventory.feedback#", {}),
    ("examineReceptacle", "examine {r}", "#examineReceptacle.feedback#", {}),
    ("examineObject", "examine {o}", "#examineObject.feedback#", {}),
    ("ToggleObject", "use {o}", "#toggleObject.feedback#", _TOGGLE),
    ("HeatObject", "heat {o} with {r}", "#heatObject.feedback#", _process("heat")),
    ("CleanObject", "clean {o} with {r}", "#cleanObject.feedback#", _process("clean")),
    ("CoolObject", "cool {o} with {r}", "#coolObject.feedback#", _process("cool")),
    (
        "SliceObject",
        "slice {co} with {ko}",
        "#sliceObject.feedback#",
        {"sliceObject.feedback": ["You sliced the {co.name} with the {ko.name}."]},
    ),
    ("look", "look", "#look.feedback#", _LOOK),
    ("help", "help", _help_text(), {}),
)


def _as_json(production: str | tuple[str, str]) -> dict[str, str]:
    if isinstance(production, str):
        return {"rhs": production}
    return {"condition": production[0], "rhs": production[1]}


def _productions_block(productions: Productions) -> str:
    plain = {symbol: [_as_json(each) for each in rhs] for symbol, rhs in productions.items()}
    return f'grammar :: """{json.dumps(plain)}""";'


def _action_block(name: str, template: str, feedback: str, productions: Productions) -> str:
    local = f"{_productions_block(productions)}\n" if productions else ""
    return f'action {name} {{\ntemplate :: "{template}";\nfeedback :: "{feedback}";\n{local}}}\n'


def grammar_parts() -> tuple[str, str]:
    """The parts of the grammar file that the domain of all generated households comes with.

    The sentence of the task is all that differs.
    """
    blocks = [_productions_block(_SHARED), *(_action_block(*action) for action in _ACTIONS)]
    before, after = "\n".join(blocks).split(_TASK_MARK)
    return before, after


def grammar(task: str) -> str:
    """The grammar that goes with the domain of generated households, with a task's sentence.

    Args:
        task: the sentence, without "Your task is to: " and the full stop.
    """
    before, after = grammar_parts()
    return f"{before}Your task is to: {task}.{after}"


__all__ = ["DOMAIN", "grammar", "grammar_parts"]

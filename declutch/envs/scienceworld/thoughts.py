"""The expert's reasoning in words: a sentence or two, and a few words for tiny models.

Templates only, drawn from the plan: what is done now and what it is for, which is the next thing
that will be done where the agent looks or goes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Purpose:
    """What a thought of ScienceWorld's expert puts into words: what an action is for.

    Attributes:
        phase: "find" on the way to something, else the verb, e.g. "take".
        thing: what it is about, "" for nothing in particular.
        other: what else, e.g. where the thing is put; "" for nothing.
    """

    phase: str
    thing: str = ""
    other: str = ""


_Wordings = tuple[str, ...]

_VERBS: Final[Sequence[tuple[str, re.Pattern[str]]]] = tuple(
    (phase, re.compile(pattern))
    for phase, pattern in (
        ("take", "pick up (.+)"),
        ("drop", "put down (.+)"),
        ("focus", "focus on (.+)"),
        ("inspect", "look (?:at|in) (.+)"),
        ("read", "read (.+)"),
        ("open", "open (.+)"),
        ("close", "close (.+)"),
        ("start", "activate (.+)"),
        ("stop", "deactivate (.+)"),
        ("mix", "mix (.+)"),
        ("eat", "eat (.+)"),
        ("flush", "flush (.+)"),
        ("put", "move (.+) to (.+)"),
        ("pour", "pour (.+) into (.+)"),
        ("dip", "dunk (.+) into (.+)"),
        ("use", "use (.+) on (.+)"),
        ("connect", "connect (.+) to (.+)"),
        ("disconnect", "disconnect (.+)"),
        ("wait", "wait1?"),
        ("choose", r"\d+"),
    )
)
_JOURNEY = re.compile(r"(?:go|teleport) to (.+)")

_TRAVEL: Final[_Wordings] = (
    "I need the {thing} next, which should be {where}, so I go there.",
    "The next thing to deal with is the {thing}. I expect it {where}.",
    "For the {thing} I have to be {where}, so that is where I go.",
)
_ERRAND: Final[_Wordings] = (
    "There is nothing left to do here. Next I have to be {where}.",
    "The next part of the work is {where}, so I go there.",
)
_SURVEY: Final[_Wordings] = (
    "I look around to see what is here. What I need is the {thing}.",
    "Before I go on I check what this place holds, above all the {thing}.",
)
_SURVEY_ALONE: Final[_Wordings] = (
    "I look around to see what is here now.",
    "Let me check what has changed here.",
)
_DIRECT: Final[Mapping[str, _Wordings]] = MappingProxyType(
    {
        "take": (
            "I will need the {thing}, so I take it with me.",
            "The {thing} is what I was looking for. I pick it up.",
        ),
        "drop": (
            "I put the {thing} down here, where I can work with it.",
            "The {thing} has to be out of my hands now, so I put it down.",
        ),
        "focus": (
            "The {thing} is what the task asks me to focus on.",
            "It is time to say which one I mean: the {thing}. I focus on it.",
        ),
        "inspect": (
            "I look at the {thing} to see how it is now.",
            "How is the {thing} now? I have to look before I go on.",
        ),
        "read": (
            "The {thing} may tell me what to do, so I read it.",
            "I read the {thing} to learn what is needed.",
        ),
        "open": (
            "The {thing} is closed. I open it to get on.",
            "What I need is reached through the {thing}, so I open it.",
        ),
        "close": (
            "The {thing} has to be closed for what comes next.",
            "I close the {thing} so that nothing gets in or out.",
        ),
        "start": (
            "The {thing} has to be running now, so I turn it on.",
            "Next I switch on the {thing}.",
        ),
        "stop": (
            "The {thing} has done its work. I turn it off.",
            "I do not need the {thing} running any more, so I switch it off.",
        ),
        "mix": (
            "Everything is in the {thing}, so I mix it.",
            "What is in the {thing} has to be mixed now.",
        ),
        "eat": ("I eat the {thing}.",),
        "flush": ("I flush the {thing}.",),
        "put": (
            "The {thing} belongs at the {other}. I move it there.",
            "Next the {thing} has to go to the {other}.",
        ),
        "pour": (
            "What is in the {thing} is needed in the {other}, so I pour it there.",
            "I pour the {thing} into the {other}, where it has to be.",
        ),
        "dip": ("I dip the {thing} into the {other} to fill it.",),
        "use": (
            "I use the {thing} on the {other}, which is what I have it for.",
            "The {thing} is the right tool for the {other}, so I use it now.",
        ),
        "connect": (
            "The circuit needs a connection from the {thing} to the {other}.",
            "I connect the {thing} to the {other} to close the circuit.",
        ),
        "disconnect": ("The {thing} must not be connected any more.",),
        "wait": (
            "This takes its time, so I wait.",
            "Nothing is to be done before something has changed. I wait.",
        ),
        "choose": ("I am asked which one I mean. I give its number.",),
        "do": ("This is the next step of the work.",),
    }
)


def purpose_of(plan: Sequence[str]) -> Purpose:
    """Find what the first action of a ScienceWorld plan is for, to be worded in a thought."""
    is_search = _is_search(plan[0])
    for action in plan[1:] if is_search else plan:
        if _is_search(action):
            continue
        for phase, pattern in _VERBS:
            match = pattern.fullmatch(action)
            if match and is_search:
                # What is put, poured or used is in hand; what is looked for is where to.
                return Purpose("find", *match.groups()[-1:])
            if match:
                return Purpose(phase, *match.groups())
        break
    return Purpose("find" if is_search else "do")


def short_thought(purpose: Purpose) -> str:
    """The thought of ScienceWorld's expert in a few words, e.g. "take thermometer"."""
    return f"{purpose.phase} {purpose.thing}".strip()


def long_thought(action: str, purpose: Purpose, number: int) -> str:
    """The thought of ScienceWorld's expert in one or two sentences, of several variants."""
    journey = _JOURNEY.fullmatch(action)
    if journey:
        wordings = _TRAVEL if purpose.thing else _ERRAND
    elif purpose.phase == "find":
        wordings = _SURVEY if purpose.thing else _SURVEY_ALONE
    else:
        wordings = _DIRECT[purpose.phase]
    chosen = wordings[zlib.crc32(f"{number} {action}".encode()) % len(wordings)]
    place = journey[1] if journey else ""
    where = place if place == "outside" else f"in the {place}"
    return chosen.format(thing=purpose.thing, other=purpose.other, where=where)


def _is_search(action: str) -> bool:
    return action == "look around" or _JOURNEY.fullmatch(action) is not None

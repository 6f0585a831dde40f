"""The expert's reasoning in words: a sentence or two for language models, two words for tiny ones.

Templates only; what is said is drawn from the intent, and which wording from a number.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Intent:
    """What a thought of the ALFWorld expert puts into words: an action and what it is for.

    Attributes:
        phase: "find", "take", "drop", "clean", "heat", "cool", "put" or "use".
        action: the command.
        kind: type of the object (or lamp) the phase is about.
        place: the receptacle it happens at, or the lamp's name for a command that uses it.
    """

    phase: str
    action: str
    kind: str
    place: str


_Wordings = tuple[str, ...]

_DIRECT: Final[Mapping[str, _Wordings]] = MappingProxyType(
    {
        "take": (
            "There is a {kind} right here. I take it.",
            "This is the {kind} I was looking for, so I pick it up.",
        ),
        "drop": (
            "The {kind} in my hand is of no use for the task. I put it down at the {place}.",
            "I need a free hand, so I leave the {kind} at the {place}.",
        ),
        "clean": (
            "I hold the {kind} and the {place} is here, so I can clean it now.",
            "The {kind} has to be clean first. The {place} does that.",
        ),
        "heat": (
            "I hold the {kind} and the {place} is here, so I can heat it now.",
            "The {kind} has to be hot first. The {place} does that.",
        ),
        "cool": (
            "I hold the {kind} and the {place} is here, so I can cool it now.",
            "The {kind} has to be cool first. The {place} does that.",
        ),
        "put": (
            "The {kind} belongs here. I put it at the {place}.",
            "This is where the {kind} has to go, so I leave it at the {place}.",
        ),
        "use": (
            "I have what I need in my hand and the {kind} is here. I turn it on.",
            "The {kind} is within reach, so I switch it on to look at what I hold.",
        ),
    }
)

_TRAVEL: Final[Mapping[str, _Wordings]] = MappingProxyType(
    {
        "find": (
            "I have not found the {kind} yet. The {place} is a likely place for it.",
            "The {kind} is still missing. I have not looked at the {place}, so I try it next.",
            "Where could the {kind} be? It may well be at the {place}.",
        ),
        "take": (
            "I remember a {kind} at the {place}. I go and get it.",
            "There is a {kind} at the {place}, so that is where I go.",
        ),
        "drop": (
            "My hand is full with a {kind} I do not need. I can leave it at the {place}.",
            "I have to get rid of the {kind} first. The {place} should accept it.",
        ),
        "clean": (
            "I have the {kind}. It must be cleaned before anything else, so I go to the {place}.",
            "Next the {kind} needs cleaning, and the {place} is the place for that.",
        ),
        "heat": (
            "I have the {kind}. It must be heated before anything else, so I go to the {place}.",
            "Next the {kind} needs heating, and the {place} is the place for that.",
        ),
        "cool": (
            "I have the {kind}. It must be cooled before anything else, so I go to the {place}.",
            "Next the {kind} needs cooling, and the {place} is the place for that.",
        ),
        "put": (
            "The {kind} is ready. Now I bring it to the {place}.",
            "All that is left is to put the {kind} down at the {place}.",
        ),
        "use": (
            "I saw a {kind} at the {place}. I carry the object there to look at it.",
            "I hold the object, and the {kind} is at the {place}, so I go there.",
        ),
    }
)

_OPEN: Final[_Wordings] = (
    "The {place} is closed. I open it because of the {kind}.",
    "I cannot see into the {place} while it is closed, and it matters for the {kind}.",
)

_INSPECT: Final[_Wordings] = (
    "The {place} is right here. I look at it for the {kind}.",
    "I stand at the {place} already, so I check it for the {kind}.",
)


def short_thought(intent: Intent) -> str:
    """Think as ALFWorld's expert does, but in two words: thoughts such as "heat potato"."""
    return f"{intent.phase} {intent.kind}"


def long_thought(intent: Intent, number: int) -> str:
    """The thought of the ALFWorld expert in one or two sentences, of several variants."""
    wordings = _wordings(intent)
    chosen = zlib.crc32(f"{number} {intent.action}".encode()) % len(wordings)
    return wordings[chosen].format(kind=intent.kind, place=intent.place)


def _wordings(intent: Intent) -> _Wordings:
    if intent.action.startswith("go to "):
        return _TRAVEL[intent.phase]
    if intent.action.startswith("open "):
        return _OPEN
    if intent.action.startswith(("take ", "move ", "use ", "clean ", "heat ", "cool ")):
        return _DIRECT[intent.phase]
    return _INSPECT

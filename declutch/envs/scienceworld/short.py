"""Short forms of ScienceWorld's sentences, for models of a few million parameters.

Only what the agent has been told is used. A room is listed in full when it is looked at and never
again, so that the last list of the place it is at stays in sight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from declutch.envs.scienceworld.simulator import UNKNOWN_ACTION

MAX_LIST_WORDS = 64
MAX_TASK_WORDS = 40
MAX_WORDS = 24
MAX_ACTION_WORDS = 10

NOT_UNDERSTOOD = (
    "No known action matches that input.",
    UNKNOWN_ACTION.strip(),
)
"""Answers to what the simulator cannot read, and to a choice it offered that was not taken."""

WORDS = (
    # A tokenizer ranks words by how often it is told them. Some of these come again below, so that
    # every tokenizer stays as it was when all suites were told them.
    "closed start put clean heat cool two look "
    "find take drop focus inspect read open close start stop mix eat flush put pour dip use "
    "connect disconnect wait choose do look which minus exits closed b c d e f g h j k l m n o p q "
    "r s t u v w x y z"
)
"""Phases of the expert's reasoning, words of the short forms, and names of unknown substances."""

_TASK = re.compile(r"Task Description:\s*(?:Your task is to )?(.*?)\s*$", re.DOTALL)
_LIST = re.compile(
    r"This (?:room|outside location) is called the ([a-z ]+)\. (?:In it|Here),? you see:\s*(.*)",
    re.DOTALL,
)
_GO = re.compile(r"You (?:move|teleport) to the ([a-z ]+)\.")
_DOOR = re.compile(r"A door to the (.*) \(that is (open|closed)\)")
_CHOICE = re.compile(r"(\d+):\t([^\n]*)")
_HERE = "the agent"
_AIR = "a substance called air"

# Said of almost everything, and of no use unless it changes.
_USUAL = re.compile(
    r" \(containing nothing\)"
    r"|[IO]n the [^.:]* is: nothing\."
    r"|, which is (?:turned )?off\b"
    r"|, which is deactivated\b"
)
_INSIDE = re.compile(r"[IO]n the [^.:]* is:")
_DOOR_OF = re.compile(r"The [^.:]* door is (open|closed)\.")
_WORDS = re.compile(r"(?<!\w)-?\d+|[a-z]+")
_FRACTION = re.compile(r"(?<=\d)\.\d+")
_SMALL_ANYWHERE = (
    "a an the of and that which is are you substance called containing currently reading "
    "temperature degrees celsius"
)
_SMALL_IN_A_TASK = (
    "to in on it its be some can take actions will cause for done task complete after by from your "
    "completing experiment located around when"
)
_SMALL = frozenset(_SMALL_ANYWHERE.split())
_SMALL_IN_TASKS = _SMALL.union(_SMALL_IN_A_TASK.split())


@lru_cache(maxsize=4096)
def state_task(intro: str) -> str:
    """Find ScienceWorld's task in full, not yet in short form; "" where there is none.

    "Your task is to" is left out.
    """
    match = _TASK.search(intro)
    return " ".join(match[1].split()) if match else ""


@lru_cache(maxsize=4096)
def shorten_task(intro: str) -> str:
    """Give the short form of ScienceWorld's task: the words that tell it from others, each once.

    A temperature below zero is "minus" and its number.
    """
    text = (state_task(intro) or intro).replace("a(n) ", "")
    return " ".join(list(dict.fromkeys(_words(text, _SMALL_IN_TASKS)))[:MAX_TASK_WORDS])


def remember_place(seen: Sequence[str]) -> str:
    """The short form of a ScienceWorld place by its last list: "kitchen : fridge closed".

    Args:
        seen: all observations so far, oldest first.
    """
    place = ""
    lists: dict[str, str] = {}
    for text in seen:
        if match := _LIST.match(text):
            lists[match[1]] = match[2]
            # A neighbouring room looks like this as well, but for the agent in it.
            place = match[1] if _HERE in match[2] else place
        elif match := _GO.match(text):
            place = match[1]
    told = _shorten_list(lists[place]) if place in lists else ""
    return f"{place} : {told}" if told else place


@lru_cache(maxsize=65536)
def shorten_observation(text: str) -> str:
    """Give the short form of a ScienceWorld observation; a room's list is in the place."""
    if match := _LIST.match(text):
        return f"look {match[1]}"
    if choices := _CHOICE.findall(text):
        told = [" ".join((number, *_words(choice, _SMALL))) for number, choice in choices]
        return f"which {_fit(told, MAX_LIST_WORDS)}"
    return " ".join(_words(_USUAL.sub("", text), _SMALL)[:MAX_WORDS])


@lru_cache(maxsize=65536)
def shorten_action(action: str) -> str:
    """Give the short form of a past ScienceWorld action: "focus apple seed flower pot 1"."""
    return " ".join(_words(action, _SMALL.union(("to", "on", "in")))[:MAX_ACTION_WORDS])


@lru_cache(maxsize=65536)
def shorten_things(text: str) -> str:
    """The short form of what is carried in ScienceWorld, without articles: "metal pot water"."""
    things = (shorten_thing(thing) for thing in re.split(r", (?![^(]*\))", text))
    return _fit([thing for thing in things if thing], MAX_WORDS)


@lru_cache(maxsize=65536)
def _shorten_list(text: str) -> str:
    """The things of a room, then its exits; everyone's own share where there are too many words."""
    inside, _, outside = text.partition("\nYou also see:")
    things = [shorten_thing(line) for line in _things_of(inside)]
    exits = [f"{name}{' closed' * (state == 'closed')}" for name, state in _DOOR.findall(outside)]
    return _fit([*things, f"exits {' '.join(exits)}" if exits else ""], MAX_LIST_WORDS)


def list_things(text: str) -> list[str]:
    """The things that a ScienceWorld observation lists, not in short; () where it lists no room."""
    match = _LIST.match(text)
    return _things_of(match[2].partition("\nYou also see:")[0]) if match else []


def _things_of(inside: str) -> list[str]:
    lines = (line.strip() for line in inside.splitlines())
    return [line for line in lines if line not in ("", _HERE, _AIR)]


def shorten_thing(text: str) -> str:
    """The short form of one thing of a ScienceWorld room: "cupboard open ceramic cup drawer"."""
    text = _DOOR_OF.sub(r"\1", _INSIDE.sub("", _USUAL.sub("", text)))
    return " ".join(_words(text, _SMALL))


def _fit(parts: Sequence[str], limit: int) -> str:
    """Parts joined by commas, of each as many words as leave no more than `limit` in all."""
    split = [part.split() for part in parts if part]
    share = max((len(words) for words in split), default=0)
    while share > 1 and sum(min(len(words), share) for words in split) > limit:
        share -= 1
    return " , ".join(" ".join(words[:share]) for words in split[:limit])


def _words(text: str, small: frozenset[str]) -> list[str]:
    """Words and whole numbers in lower case, without small words."""
    found = _WORDS.findall(_FRACTION.sub("", text.lower()))
    return [part for word in found if word not in small for part in _split_sign(word)]


def _split_sign(word: str) -> tuple[str, ...]:
    return ("minus", word[1:]) if word.startswith("-") else (word,)

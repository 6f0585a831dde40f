"""Short forms of ALFWorld's sentences, for models of a few million parameters.

Only what the agent has been told is used. Text in no known form is passed on as lower-case words.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from declutch.envs.alfworld.memory import parse_goal
from declutch.envs.wording import state_task
from declutch.ground.errors import UserError

_INTRO = re.compile(r"Looking quickly around you, you see (.*?)\.\s", re.DOTALL)
_ITEM = re.compile(r"([a-z]+) (\d+)")
_ARRIVE = re.compile(r"You arrive at ([a-z]+ \d+)\. ?(.*)", re.DOTALL)
_OPEN = re.compile(r"You open the ([a-z]+ \d+)\. (.*)", re.DOTALL)
_CLOSE = re.compile(r"You close the ([a-z]+ \d+)\.")
_TAKE = re.compile(r"You pick up the ([a-z]+ \d+) from the ([a-z]+ \d+)\.")
_MOVE = re.compile(r"You move the ([a-z]+ \d+) to the ([a-z]+ \d+)\.")
_CHANGE = re.compile(
    r"You (clean|heat|cool|slice) the ([a-z]+ \d+) (?:using|with) the ([a-z]+ \d+)\."
)
_TURN = re.compile(r"You turn on the ([a-z]+ \d+)\.")
_SEE = re.compile(r"you see (.*)", re.DOTALL)
_WORDS = re.compile(r"[a-z]+|\d+")


@lru_cache(maxsize=4096)
def compress_room(intro: str) -> str:
    """Give the short form of an ALFWorld room, its receptacles: "cabinet 6 desk 1".

    Args:
        intro: the first observation of an episode.
    """
    match = _INTRO.search(intro)
    if match is None:
        return ""
    counts = Counter(kind for kind, _ in _ITEM.findall(match[1]))
    return " ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))


@lru_cache(maxsize=4096)
def compress_task(intro: str) -> str:
    """Give the short form of an ALFWorld task: what to do, with what, and where: "clean mug desk".

    The sentences of the official games say the same thing in several ways; a task in other words
    stays as it is.
    """
    try:
        goal = parse_goal(intro)
    except UserError:
        return state_task(intro).lower()
    if goal.lamp_type:
        return f"look {goal.object_type} {goal.lamp_type}"
    verb = "two" if goal.count == 2 else goal.process or "put"
    return f"{verb} {goal.object_type} {goal.receptacle_type}"


@lru_cache(maxsize=65536)
def compress_observation(text: str) -> str:
    """Give the short form of an ALFWorld observation: "open drawer 2 : mug 1 pen 2"."""
    if match := _ARRIVE.match(text):
        return f"at {match[1]} : {_contents(match[2])}"
    if match := _OPEN.match(text):
        return f"open {match[1]} : {_contents(match[2])}"
    if match := _CLOSE.match(text):
        return f"close {match[1]}"
    if match := _TAKE.match(text):
        return f"take {match[1]} from {match[2]}"
    if match := _MOVE.match(text):
        return f"move {match[1]} to {match[2]}"
    if match := _CHANGE.match(text):
        return f"{match[1]} {match[2]} with {match[3]}"
    if match := _TURN.match(text):
        return f"use {match[1]}"
    if "Looking quickly around you" in text:
        return "start"
    return " ".join(_WORDS.findall(text.lower())[:40])


def _contents(text: str) -> str:
    seen = _SEE.search(text)
    if seen:
        items = _ITEM.findall(seen[1])
        return " ".join(f"{kind} {number}" for kind, number in items) if items else "nothing"
    return "closed" if "is closed" in text else "nothing"


@lru_cache(maxsize=65536)
def compress_action(action: str) -> str:
    """Give the short form of a past ALFWorld action: "go desk 1" for "go to desk 1"."""
    words = action.split()
    if words[:2] == ["go", "to"]:
        return " ".join(["go", *words[2:]])
    for link in ("from", "to", "with"):
        if link in words:
            return " ".join(words[: words.index(link)])
    return action

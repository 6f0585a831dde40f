"""Distractors of household tasks: things that lie about in other households of ALFWorld."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from declutch.envs.excerpts import Excerpt

LOOKS = (
    "cracked",
    "dented",
    "faded",
    "new",
    "old",
    "scratched",
    "seldom used",
    "smudged",
    "unused",
    "worn",
)
"""What a thing looks like, of which no task asks: none is about clean, hot, cool or sliced."""
TOOLS = ("knife", "butterknife")
"""Things that a task may need without naming them, for something that is to be sliced."""

_SEEN = re.compile(r"you see (.*)", re.DOTALL)
_ITEM = re.compile(r"([a-z]+) (\d+)")
_ROOM = "Looking quickly around you"


def find_things(texts: Sequence[str]) -> list[Excerpt]:
    """Find excerpts in an ALFWorld game's observations: the things that lie in its receptacles.

    Args:
        texts: the observations of one episode, the first one first.
    Source: Liu et al. 2026 (arXiv:2601.18217), appendix C.1. Differs: the things are those of other
        games, so that all words are known; no receptacle is among them, no tool, and no look of
        which a task asks.
    """
    found = []
    for text in texts[1:]:
        seen = _SEEN.search(text)
        if seen is None or _ROOM in text:
            continue
        for kind, number in _ITEM.findall(seen[1]):
            if kind not in TOOLS:
                found.append(_notice(kind, f"{kind} {number}"))
    return found


def _notice(kind: str, name: str) -> Excerpt:
    # A thing always looks the same; Python's own hash differs from process to process.
    look = LOOKS[zlib.crc32(name.encode()) % len(LOOKS)]
    return Excerpt(f"You notice a {name} that looks {look}.", name, frozenset((kind,)))

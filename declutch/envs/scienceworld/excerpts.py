"""Distractors of ScienceWorld's tasks: things that its rooms hold in other variations."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.envs.excerpts import MOST_WORDS, Excerpt, telling_words
from declutch.envs.scienceworld.short import list_things, shorten_thing


def find_things(texts: Sequence[str]) -> list[Excerpt]:
    """Find excerpts in ScienceWorld's observations: the things of the rooms that are listed.

    What an action led to is none of them. In the compact prompt, which has no frame, it would read
    like the answer to the agent's own.

    Args:
        texts: the observations of one episode, the first one first, which lists a room as well.
    """
    found = []
    for thing in (each for text in texts for each in list_things(text)):
        short = shorten_thing(thing)
        if short and len(thing.split()) <= MOST_WORDS:
            text = f"Somewhere else there is {thing.rstrip('.')}."
            found.append(Excerpt(text, short, telling_words(thing)))
    return found

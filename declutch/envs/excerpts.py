"""Excerpts: what a suite's observations say that may distract an agent in another of its tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

FRAME = 'A notice about something else reads: "{}"'
"""Says of a sentence that is taken from another task that it does not describe this one."""
LEAST_WORDS, MOST_WORDS = 2, 24
"""Bounds of a sentence that is taken: shorter ones say nothing, longer ones fill the prompt."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")
_LETTERS = re.compile(r"[a-z]+")
_SMALL_WORDS = (
    "a an and any are as at be by can do for from has have here how if in into is it its many more "
    "no not nothing of on one only or than that the their then there these they this to was what "
    "when which with you your answer final find give number numbers"
)
_SMALL = frozenset(_SMALL_WORDS.split())
_TO_THE_AGENT = frozenset(("you", "your"))


@dataclass(frozen=True)
class Excerpt:
    """An excerpt of an environment's observations, worded as a distractor for other tasks.

    Attributes:
        text: a sentence for the full prompt.
        short: the same for the compact prompt; "" where it cannot be said there.
        names: the words that say what it is about. It is never shown where the first observation,
            the current one or a possible action has one of them.
    """

    text: str
    short: str
    names: frozenset[str]


FindExcerpts = Callable[[Sequence[str]], Sequence[Excerpt]]
"""Finds excerpts in the observations of one episode, the first one first."""


def telling_words(text: str) -> frozenset[str]:
    """For excerpts, the words of an environment's text that say what it is about."""
    return frozenset(
        word for word in _LETTERS.findall(text.lower()) if len(word) > 1 and word not in _SMALL
    )


def are_related(one: str, other: str) -> bool:
    """Whether two words of an excerpt and of an environment's task may mean the same thing.

    They may where one begins with the other, as "apple" and "apples"; "cup" and "cupboard" are
    taken for related, too, which leaves out more than need be.
    """
    shorter, longer = sorted((one, other), key=len)
    return one == other or (len(shorter) > 2 and longer.startswith(shorter))


def quote_sentences(texts: Sequence[str], shorten: Callable[[str], str]) -> list[Excerpt]:
    """Find excerpts in any environment's observations: their sentences, each in a frame.

    The first observation states another task, which would be another goal, so nothing is taken from
    it. In the compact prompt there is no frame, as a tiny model knows no words but the suite's; so
    no sentence that speaks to the agent is put there.

    Args:
        texts: the observations of one episode, the first one first.
        shorten: gives the short form of an observation.
    """
    found = []
    for sentence in _sentences(texts[1:]):
        names = telling_words(sentence)
        if names:
            is_told = not _TO_THE_AGENT.isdisjoint(_LETTERS.findall(sentence.lower()))
            short = "" if is_told else shorten(sentence)
            found.append(Excerpt(FRAME.format(sentence), short, names | telling_words(short)))
    return found


def _sentences(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        for part in _SENTENCE.split(text.strip()):
            sentence = " ".join(part.replace('"', "'").split())
            if LEAST_WORDS <= len(sentence.split()) <= MOST_WORDS:
                yield sentence

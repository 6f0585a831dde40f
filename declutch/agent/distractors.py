"""Put distractors into an observation as the agent's prompt shows it, in full and in short."""

from __future__ import annotations

import re
from collections.abc import Sequence

from declutch.records import Distractor

_BOUNDARY = re.compile(r"(?<=[.!?])\s+|\n+")


def insert_sentences(text: str, distractors: Sequence[Distractor], task: str = "") -> str:
    """Put distractors between the sentences of an observation, for the agent's full prompt.

    Args:
        text: the environment's own.
        distractors: their places decide before or after which sentence.
        task: the task's statement; where the text has it, nothing is put behind its beginning.
    """
    if not distractors:
        return text
    start = text.find(task) if task else -1
    last = len(text) if start < 0 else start
    boundaries = [0, *(m.end() for m in _BOUNDARY.finditer(text) if m.end() <= last)]
    if start < 0 and boundaries[-1] != last:
        boundaries.append(last)
    inserted: dict[int, list[str]] = {}
    for each in distractors:
        where = boundaries[int(each.place * len(boundaries))]
        inserted.setdefault(where, []).append(each.text)
    parts, done = [], 0
    for where, sentences in sorted(inserted.items()):
        parts += [text[done:where].rstrip(" "), *sentences]
        done = where
    return " ".join(part for part in (*parts, text[done:]) if part)


def insert_words(short: str, distractors: Sequence[Distractor]) -> str:
    """Put distractors before or behind an observation in short, for the agent's compact prompt.

    Semicolons part them, which every tiny model knows.
    """
    before = [each.short for each in distractors if each.short and each.place < 0.5]
    behind = [each.short for each in distractors if each.short and each.place >= 0.5]
    return " ; ".join((*before, short, *behind))

"""From the words of a gold path to the words of the list of valid actions.

Gold paths name objects as they please ("thermometer in inventory"), say some actions otherwise
("examine"), and hold actions that do nothing (opening what is open).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from types import MappingProxyType

from declutch.envs.scienceworld.simulator import Choice

_SYNONYMS = MappingProxyType({"examine": "look at", "drop": "put down"})
_HEAD = re.compile(r"(?:look|focus|pick|put|go|teleport) \w+|\w+")
_BETWEEN = re.compile(r" (?:to|into|in|on) ")
_WHERE = re.compile(r" (?:in|on|containing|with) ")


def spell_action(
    action: str, choices: Sequence[Choice], names: Mapping[int, Set[str]]
) -> str | None:
    """The spelling of a gold path's action that ScienceWorld lists; None where it would do nothing.

    Args:
        choices: the valid actions now.
        names: what each object may be called, in lower case.
    """
    if any(action == choice.action for choice in choices):
        return action
    # What is carried needs no place.
    head, rest = _split_head(action.replace(" in inventory", ""))
    slots = {1: ((rest,),), 2: tuple(_split_between(rest))}
    words = {*head.split(), *rest.split()}
    meant = []
    for choice in choices:
        if _split_head(choice.action)[0] != head:
            continue
        called = [names.get(each, frozenset()) for each in choice.objects]
        said = set(choice.action.split())
        for each in slots.get(len(called), ()):
            named = _named_words(each, called)
            if named:
                # Of several objects with the name, the one whose place is told as well.
                meant.append((len(words - said - named), len(said - words), choice.action))
    return min(meant)[-1] if meant else None


def _split_head(action: str) -> tuple[str, str]:
    match = _HEAD.match(action)
    head = match[0] if match else ""
    return _SYNONYMS.get(head, head), action[len(head) :].strip().lower()


def _split_between(text: str) -> Iterator[tuple[str, str]]:
    return ((text[: each.start()], text[each.end() :]) for each in _BETWEEN.finditer(text))


def _named_words(slots: Sequence[str], called: Sequence[Set[str]]) -> set[str]:
    """Words of the longest names that the slots begin with, none unless each begins with one.

    What comes after a name says where its object is.
    """
    words: set[str] = set()
    for slot, names in zip(slots, called, strict=True):
        ends = [len(slot), *(each.start() for each in _WHERE.finditer(slot))]
        length = max((end for end in ends if slot[:end] in names), default=0)
        if not length:
            return set()
        words |= set(slot[:length].split())
    return words

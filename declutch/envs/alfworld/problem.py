"""A game file's PDDL problem: its things, its initial facts and its goal."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from declutch.envs.alfworld.pddl import GameFileError, parse_lisp, parse_typed_list

_FACT = re.compile(r"\(\s*([^\s()]+)((?:\s+[^\s()]+)*)\s*\)")
_COST = re.compile(r"\(\s*=\s*\([^()]*\)\s*[^\s()]+\s*\)")


@dataclass(frozen=True)
class Problem:
    """The PDDL problem of an ALFWorld game file: its things, its initial facts and its goal.

    Attributes:
        kinds: type of each declared thing.
        facts: arguments of each initial fact, by predicate.
        goal: the condition to reach, as nested lists.
    """

    kinds: Mapping[str, str]
    facts: Mapping[str, list[tuple[str, ...]]]
    goal: list[Any]


def parse_problem(text: str) -> Problem:
    """Read the PDDL problem of an ALFWorld game file. Raises GameFileError where it is none."""
    text = re.sub(r";[^\n]*", "", text).lower() if ";" in text else text.lower()
    init, goal = text.find("(:init"), text.find("(:goal")
    objects = re.search(r"\(\s*:objects([^()]*)\)", text)
    if objects is None or not 0 <= init < goal:
        raise GameFileError("its problem lacks objects, initial facts or a goal")
    kinds = dict(parse_typed_list(objects[1].split()))
    facts: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    stated = text[init + len("(:init") : goal]
    if "=" in stated:
        stated = _COST.sub(" ", stated)
    for name, arguments in _FACT.findall(stated):
        facts[name].append(tuple(arguments.split()))
    if _FACT.sub("", stated).split() != [")"]:
        raise GameFileError("its initial facts cannot be read")
    return Problem(kinds, facts, _parse_goal(text[goal:]))


def _parse_goal(text: str) -> list[Any]:
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            form = parse_lisp(text[: match.end()])
            if len(form) == 2 and isinstance(form[1], list):
                return form[1]
            break
    raise GameFileError("its goal cannot be read")

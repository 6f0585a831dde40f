"""PDDL as nested lists, and what keeps a game file from being played."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

_LISP_TOKEN = re.compile(r"[()]|[^\s()]+")
Form = tuple[Any, ...]
"""A condition or an effect, nested tuples of strings, such as ("not", ("opened", "?r"))."""
MALFORMED = (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""What walking over a malformed expression raises."""


class GameFileError(Exception):
    """PDDL or the file around it that our ALFWorld engine cannot play; says why, after "it"."""


def fingerprint(form: Form) -> str:
    """Hash a normal form of ALFWorld's PDDL or of a grammar with SHA-256."""
    return hashlib.sha256(repr(form).encode()).hexdigest()


def parse_lisp(text: str) -> list[Any]:
    """Read PDDL of ALFWorld as lists of lower-case words. Raises GameFileError if unbalanced."""
    text = re.sub(r";[^\n]*", "", text).lower()
    stack: list[list[Any]] = [[]]
    for token in _LISP_TOKEN.findall(text):
        if token == "(":
            stack.append([])
        elif token == ")":
            if len(stack) == 1:
                raise GameFileError("a closing parenthesis too many")
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    if len(stack) != 1 or len(stack[0]) != 1:
        raise GameFileError("an unbalanced or empty expression")
    return list(stack[0][0])


def parse_typed_list(words: Iterable[str]) -> list[tuple[str, str]]:
    """Read a typed list of PDDL: `a b - t c` is [("a", "t"), ("b", "t"), ("c", "object")]."""
    typed: list[tuple[str, str]] = []
    names: list[str] = []
    iterator = iter(words)
    for word in iterator:
        if word == "-":
            kind = next(iterator, "object")
            typed += [(name, kind) for name in names]
            names = []
        else:
            names.append(word)
    return typed + [(name, "object") for name in names]

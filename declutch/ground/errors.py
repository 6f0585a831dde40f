"""The one exception that a user is meant to see, and the findings of checks.

Everything a person can put right (a path, a value, a missing package) is raised as a `UserError`
whose message names the thing, the value and the remedy; the command line prints it without a
traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

NEAR = 0.65
"""How much alike two names have to be for one to be offered in place of the other, in [0, 1]."""


class UserError(Exception):
    """An error that the user can put right: the message says what, where and how."""


def nearest(name: str, options: Sequence[str]) -> str:
    """End an error about an unknown name with the nearest option, or with all of them."""
    close = difflib.get_close_matches(name, options, n=1, cutoff=NEAR)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(options)}" if options else ""


class Status(StrEnum):
    """How bad an error or other `Finding` is: fine, worth knowing, or in the way."""

    OK = "ok"
    WARN = "warn"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One error or all-clear that a check reports: what was looked at, how it is, what to do.

    Attributes:
        name: what was looked at.
        status: whether it is in the way.
        detail: what was found.
        remedy: what to do about it, "" where nothing needs doing.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def has_problem(findings: Sequence[Finding]) -> bool:
    """Whether any `Finding` among these is an error that keeps a run from working."""
    return any(finding.status is Status.PROBLEM for finding in findings)


def error_reason(error: Exception) -> str:
    """The cause of an error in a few words: the system's own, else its text's first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

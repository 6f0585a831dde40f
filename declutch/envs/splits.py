"""Splits and levels: which tasks a name like "L2" stands for, and a hash that pins them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from declutch.ground.errors import UserError
from declutch.records import TaskId

USUAL_LEVELS = ("train", "L0", "L1", "L2")
"""What every suite is asked for: training tasks, then known tasks in known surroundings (L0), known
tasks in new surroundings (L1), and kinds of task that were held out (L2)."""


@dataclass(frozen=True)
class Level:
    """A split or level: a named set of a suite's tasks to evaluate or train on, such as "L0".

    Attributes:
        split: the raw split its tasks come from.
        kinds: task types it keeps, in any order; None keeps all.
        meaning: one phrase for tables and messages.
    """

    split: str
    kinds: tuple[str, ...] | None
    meaning: str


def find_level(levels: Mapping[str, Level], name: str, suite: str, hint: str = "") -> Level:
    """Find the split or level that a suite calls by a name.

    Args:
        hint: what is to be said of a name that is none of `levels`, "" for nothing.
    Raises:
        UserError: there is no such level; the message names those there are.
    """
    level = levels.get(name)
    if level is None:
        why = f"; {hint}" if hint else ""
        raise UserError(
            f"{suite} has no split or level '{name}'{why}; choose one of {', '.join(levels)}"
        )
    return level


def select_tasks(tasks: Iterable[TaskId], level: Level) -> tuple[TaskId, ...]:
    """Select from a raw split, whatever the environment, the tasks that belong to a level."""
    return tuple(task for task in tasks if level.kinds is None or task.kind in level.kinds)


def manifest_hash(tasks: Sequence[TaskId]) -> str:
    """Hash the tasks of a split or level by suite, split and name: equal hashes, equal lists."""
    lines = "".join(f"{task.suite}\t{task.split}\t{task.name}\n" for task in tasks)
    return hashlib.sha256(lines.encode()).hexdigest()

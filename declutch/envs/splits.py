"""Splits and levels: which tasks a name like "L2" stands for, and a hash that pins them.

Source: METHOD section 5; the levels follow GiGPO's and RLVMR's held-out task types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from declutch.errors import UserError
from declutch.records import TaskId


@dataclass(frozen=True)
class Level:
    """A split to evaluate or train on.

    Attributes:
        split: the raw split its tasks come from.
        kinds: task types it keeps, in any order; None keeps all.
        meaning: one phrase for tables and messages.
    """

    split: str
    kinds: tuple[str, ...] | None
    meaning: str


ALFWORLD_TRAINED_KINDS = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
)
ALFWORLD_HELD_OUT_KINDS = ("pick_cool_then_place_in_recep", "pick_two_obj_and_place")
ALFWORLD_KINDS = (*ALFWORLD_TRAINED_KINDS, *ALFWORLD_HELD_OUT_KINDS)
ALFWORLD_SPLITS = ("train", "valid_seen", "valid_unseen")

ALFWORLD_LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        "train": Level("train", None, "all training games"),
        "valid_seen": Level("valid_seen", None, "all games in rooms seen in training"),
        "valid_unseen": Level("valid_unseen", None, "all games in unseen rooms"),
        "rl-train": Level("train", ALFWORLD_TRAINED_KINDS, "games to train on"),
        "L0": Level("valid_seen", ALFWORLD_TRAINED_KINDS, "seen rooms, trained task types"),
        "L1": Level("valid_unseen", ALFWORLD_TRAINED_KINDS, "unseen rooms, trained task types"),
        "L2": Level("valid_unseen", ALFWORLD_HELD_OUT_KINDS, "unseen rooms, held-out task types"),
        "L0-train": Level("train", ALFWORLD_TRAINED_KINDS, "games trained on"),
        "L2-seen": Level("valid_seen", ALFWORLD_HELD_OUT_KINDS, "seen rooms, held-out task types"),
    }
)


def find_level(levels: Mapping[str, Level], name: str, suite: str) -> Level:
    """The level called `name`. Raises UserError, naming the levels there are."""
    level = levels.get(name)
    if level is None:
        hint = (
            "; it is never used: it repeats training rooms and task types"
            if name == "valid_train"
            else ""
        )
        raise UserError(
            f"{suite} has no split or level '{name}'{hint}; choose one of {', '.join(levels)}"
        )
    return level


def select_tasks(tasks: Iterable[TaskId], level: Level) -> tuple[TaskId, ...]:
    """The tasks of a raw split that belong to `level`, in their own order."""
    return tuple(task for task in tasks if level.kinds is None or task.kind in level.kinds)


def manifest_hash(tasks: Sequence[TaskId]) -> str:
    """SHA-256 over suite, split and name of each task, in order: equal hashes, equal task lists."""
    lines = "".join(f"{task.suite}\t{task.split}\t{task.name}\n" for task in tasks)
    return hashlib.sha256(lines.encode()).hexdigest()

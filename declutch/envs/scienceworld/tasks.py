"""The 30 tasks, their variations, and which of them a split or level holds.

The number of variations of each task is that of `scienceworld` 1.2.3, and its own ranges for
training, development and test are used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal

from declutch.envs.splits import Level
from declutch.records import TaskId

HeldOut = Literal["by_name", "by_task_id", "none"]

# In the order of the package's task ids, 1-1 to 10-2.
NUM_VARIATIONS: Mapping[str, int] = MappingProxyType(
    {
        "boil": 30,
        "melt": 30,
        "freeze": 30,
        "change-the-state-of-matter-of": 30,
        "use-thermometer": 540,
        "measure-melting-point-known-substance": 436,
        "measure-melting-point-unknown-substance": 300,
        "power-component": 20,
        "power-component-renewable-vs-nonrenewable-energy": 20,
        "test-conductivity": 900,
        "test-conductivity-of-unknown-substances": 600,
        "find-living-thing": 300,
        "find-non-living-thing": 300,
        "find-plant": 300,
        "find-animal": 300,
        "grow-plant": 126,
        "grow-fruit": 126,
        "chemistry-mix": 32,
        "chemistry-mix-paint-secondary-color": 36,
        "chemistry-mix-paint-tertiary-color": 36,
        "lifespan-longest-lived": 125,
        "lifespan-shortest-lived": 125,
        "lifespan-longest-lived-then-shortest-lived": 125,
        "identify-life-stages-1": 14,
        "identify-life-stages-2": 10,
        "inclined-plane-determine-angle": 168,
        "inclined-plane-friction-named-surfaces": 1386,
        "inclined-plane-friction-unnamed-surfaces": 162,
        "mendelian-genetics-known-plant": 120,
        "mendelian-genetics-unknown-plant": 480,
    }
)
KINDS = tuple(NUM_VARIATIONS)

_LAST_OF_MOST_TOPICS = (
    "change-the-state-of-matter-of",
    "chemistry-mix-paint-tertiary-color",
    "identify-life-stages-2",
    "inclined-plane-friction-unnamed-surfaces",
    "lifespan-longest-lived-then-shortest-lived",
    "measure-melting-point-unknown-substance",
    "mendelian-genetics-unknown-plant",
    "test-conductivity-of-unknown-substances",
)
HELD_OUT_KINDS: Mapping[HeldOut, tuple[str, ...]] = MappingProxyType(
    {
        "by_name": (*_LAST_OF_MOST_TOPICS, "find-plant", "grow-plant"),
        "by_task_id": (*_LAST_OF_MOST_TOPICS, "find-animal", "grow-fruit"),
        "none": (),
    }
)
"""The last task of each topic: by the alphabet (the manifest that RLVMR published), or by id; or
none, as RLVMR's own L0 and L1 have it."""
NEITHER_KINDS = ("use-thermometer",)
"""Tasks that are neither trained on nor held out, unless none is held out at all."""


def trained_kinds(held_out: HeldOut) -> tuple[str, ...]:
    """The ScienceWorld tasks that are trained on: 19, or all 30 where none is held out."""
    unseen = HELD_OUT_KINDS[held_out]
    return tuple(k for k in KINDS if not unseen or k not in unseen + NEITHER_KINDS)


def make_levels(held_out: HeldOut, kinds: Collection[str] = KINDS) -> Mapping[str, Level]:
    """Say which ScienceWorld tasks and variations each split or level stands for.

    Args:
        kinds: tasks that are played; a level has those of its own that are among them.
    """
    trained = tuple(kind for kind in trained_kinds(held_out) if kind in kinds)
    unseen = tuple(kind for kind in HELD_OUT_KINDS[held_out] if kind in kinds)
    played = tuple(kinds)
    return MappingProxyType(
        {
            "train": Level("train", played, "train variations of all tasks"),
            "dev": Level("dev", played, "dev variations of all tasks"),
            "test": Level("test", played, "test variations of all tasks"),
            "rl-train": Level("train", trained, "variations to train on"),
            "L0": Level("dev", trained, "dev variations of trained tasks"),
            "L1": Level("test", trained, "test variations of trained tasks"),
            "L2": Level("test", unseen, "test variations of held-out tasks"),
            "L0-train": Level("train", trained, "variations trained on"),
            "L2-seen": Level("dev", unseen, "dev variations of held-out tasks"),
        }
    )


def split_variations(num_variations: int) -> Mapping[str, range]:
    """Divide a ScienceWorld task's variations as the package does: half to train, a quarter each.

    Args:
        num_variations: at least 5; up to 3 at the end can be in no range, as in the package.
    """
    if num_variations < 5:
        raise ValueError(f"{num_variations} variations are fewer than 5")
    quarter = num_variations // 4
    return {
        "train": range(2 * quarter),
        "dev": range(2 * quarter, 3 * quarter),
        "test": range(3 * quarter, min(5 * quarter, num_variations)),
    }


def list_split(suite: str, split: str) -> tuple[TaskId, ...]:
    """List every ScienceWorld variation of a raw split, by task, then by number."""
    names = [
        (kind, f"{kind}/{variation}")
        for kind, count in NUM_VARIATIONS.items()
        for variation in split_variations(count)[split]
    ]
    return tuple(
        TaskId(suite, split, index, name, kind) for index, (kind, name) in enumerate(names)
    )


def variation_of(task: TaskId) -> int:
    """The number of a ScienceWorld task's variation."""
    return int(task.name.rpartition("/")[2])

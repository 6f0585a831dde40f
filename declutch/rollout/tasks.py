"""Which tasks an iteration plays, and the fixed order of a level in an evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from declutch.ground.streams import stream
from declutch.records import TaskId


def draw_tasks(tasks: Sequence[TaskId], count: int, seed: int, iteration: int) -> list[TaskId]:
    """Draw the tasks of an iteration's rollout: passes over all tasks, each in a new order.

    Args:
        tasks: the training split, at least one.
        count: tasks per iteration.
        iteration: from 0.
    """
    order: dict[int, list[int]] = {}
    drawn = []
    for place in range(iteration * count, (iteration + 1) * count):
        epoch, position = divmod(place, len(tasks))
        if epoch not in order:
            order[epoch] = torch.randperm(
                len(tasks), generator=stream(seed, "tasks", epoch)
            ).tolist()
        drawn.append(tasks[order[epoch][position]])
    return drawn


def fixed_order(tasks: Sequence[TaskId]) -> list[TaskId]:
    """Put tasks of one level in a fixed order for a rollout: shuffled as they alone determine.

    An evaluation of a part of the level plays the first ones.
    """
    return sorted(tasks, key=lambda t: hashlib.sha256(f"{t.split}/{t.name}".encode()).digest())

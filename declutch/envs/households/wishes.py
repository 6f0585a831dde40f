"""What a player may be asked to do in a generated household's scene: its wishes."""

from __future__ import annotations

from dataclasses import dataclass

from declutch.envs.households import rooms as rooms
from declutch.envs.households import tasks as tasks
from declutch.envs.households.scene import Scene


@dataclass(frozen=True)
class Wish:
    """A wish that a player fulfils in a generated household: kind of task, object, where it goes.

    For LOOK, the goal is a lamp.
    """

    kind: str
    object_kind: str
    goal_kind: str


def _goal_fits(scene: Scene, wish: Wish) -> bool:
    if wish.kind == tasks.LOOK:
        return any(item.kind == wish.goal_kind for item in scene.fixtures)
    contents = tasks.can_contain().get(wish.goal_kind, frozenset())
    return wish.goal_kind in scene.by_kind and wish.object_kind in contents


def _can_use(scene: Scene, wish: Wish) -> bool:
    """The scene has what the task is done with, and a place where the thing may be at first."""
    if wish.kind in tasks.PROCESSES and tasks.PROCESSES[wish.kind][1] not in scene.by_kind:
        return False
    row = next(row for row in scene.object_rows if row.kind == wish.object_kind)
    return bool(pull_of(scene, row, wish))


def pull_of(scene: Scene, row: rooms.ObjectRow, wish: Wish) -> list[tuple[str, int]]:
    """What a household's wishes keep apart: receptacle types where a thing must not lie at first.

    A wanted thing is neither where it is to end up already (where that alone would win) nor in
    the very appliance it is to be taken to.
    """
    barred = ""
    if row.kind == wish.object_kind:
        if wish.kind in tasks.PROCESSES:
            barred = tasks.PROCESSES[wish.kind][1]
        elif wish.kind != tasks.LOOK:
            barred = wish.goal_kind
    return [(k, w) for k, w in row.pull if k in scene.by_kind and k != barred]


def wishes(scene: Scene, kind: str) -> list[tuple[Wish, int]]:
    """List the wishes that can be fulfilled in a generated household's scene, with their weights.

    There may be none.
    """
    found: list[tuple[Wish, int]] = []
    present = {row.kind for row in scene.object_rows}
    for row in tasks.task_rows(kind):
        if row.room != scene.room:
            continue
        for object_kind, weight in row.objects:
            options = [Wish(kind, object_kind, goal) for goal, _ in row.goals]
            weights = dict(row.goals)
            fitting = [
                (wish, weights[wish.goal_kind])
                for wish in options
                if object_kind in present and _goal_fits(scene, wish) and _can_use(scene, wish)
            ]
            total = sum(w for _, w in fitting)
            found += [(wish, max(1, round(1000 * weight * w / total))) for wish, w in fitting]
    return found

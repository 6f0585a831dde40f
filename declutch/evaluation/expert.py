"""How often a suite's expert wins within 30 and 50 steps, by task type."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from declutch.envs.protocol import Expert, HasWalkthrough, Suite, TextEnv, new_expert
from declutch.records import TaskId


@dataclass(frozen=True)
class ExpertRow:
    """Evaluation of a suite's expert on one task type: how often and how fast it wins the games.

    Attributes:
        kind: the kind, "all" for the last row.
        num_games: number of games, each played once.
        num_won_30, num_won_50: won within that many steps.
        median_steps: over the games won; nan if none was.
        median_walkthrough: length of the stored solutions; nan where there are none.
    """

    kind: str
    num_games: int
    num_won_30: int
    num_won_50: int
    median_steps: float
    median_walkthrough: float


def measure_expert(suite: Suite, split: str, max_steps: int = 50) -> tuple[ExpertRow, ...]:
    """Evaluation of a suite's expert, which plays a split's games once: rows per task type and all.

    Raises:
        UserError: no such split, no game in it, or no expert.
    """
    env = suite.make_env()
    played: dict[str, list[tuple[int, int]]] = {}
    for task in suite.tasks(split):
        steps = _play_alone(env, new_expert(suite, 0), task, max_steps)
        length = len(env.walkthrough) if isinstance(env, HasWalkthrough) else 0
        played.setdefault(task.kind, []).append((steps, length))
    env.close()
    rows = [_expert_row(kind, games) for kind, games in sorted(played.items())]
    return (*rows, _expert_row("all", [game for games in played.values() for game in games]))


_NEVER_WON = -1


def _play_alone(env: TextEnv, expert: Expert, task: TaskId, max_steps: int) -> int:
    """Steps the expert needs, -1 if more than `max_steps` or where it knows no way."""
    expert.reset(task, env.reset(task))
    for number in range(1, max_steps + 1):
        advice = expert.act()
        if advice is None:
            break
        transition = env.step(advice.action)
        if transition.is_won:
            return number
        expert.update(advice.action, transition.observation)
    return _NEVER_WON


def _expert_row(kind: str, games: Sequence[tuple[int, int]]) -> ExpertRow:
    won = [steps for steps, _ in games if steps != _NEVER_WON]
    solutions = [length for _, length in games if length]
    return ExpertRow(
        kind=kind,
        num_games=len(games),
        num_won_30=sum(steps <= 30 for steps in won),
        num_won_50=sum(steps <= 50 for steps in won),
        median_steps=statistics.median(won) if won else float("nan"),
        median_walkthrough=statistics.median(solutions) if solutions else float("nan"),
    )

"""Problems of mathematics as tasks of one step with a verifier, for contrast with agent tasks.

Some of MATH's subjects are trained on and the others held out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from declutch.envs.math.env import AnswerKey, MathEnv
from declutch.envs.math.problems import Problem
from declutch.envs.math.wording import MATH
from declutch.envs.splits import Level, find_level, select_tasks
from declutch.ground.errors import UserError
from declutch.records import TaskId

SUITE = "math"
TRAINED_KINDS = ("Number Theory", "Intermediate Algebra", "Counting & Probability", "Geometry")
HELD_OUT_KINDS = ("Algebra", "Prealgebra", "Precalculus")

LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        "train": Level("train", None, "all training problems"),
        "dev": Level("dev", None, "all development problems"),
        "test": Level("test", None, "all test problems"),
        "rl-train": Level("train", TRAINED_KINDS, "problems to train on"),
        "L0": Level("dev", TRAINED_KINDS, "development problems, trained subjects"),
        "L1": Level("test", TRAINED_KINDS, "test problems, trained subjects"),
        "L2": Level("test", HELD_OUT_KINDS, "test problems, held-out subjects"),
        "L0-train": Level("train", TRAINED_KINDS, "problems trained on"),
    }
)


class MathSuite:
    """The suite of math problems in three splits, which share none, as tasks with levels."""

    name = SUITE
    held_out_kinds = HELD_OUT_KINDS
    wording = MATH

    def __init__(self, splits: Mapping[str, Sequence[Problem]]) -> None:
        """
        Args:
            splits: problems of "train", "dev" and "test", no text twice.
        """
        self._problems = {split: tuple(problems) for split, problems in splits.items()}

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """List the problems of a split or level. Raises UserError where there are none."""
        level = find_level(LEVELS, split, SUITE)
        problems = enumerate(self._problems[level.split])
        every = (TaskId(SUITE, level.split, i, _name(p), p.kind) for i, p in problems)
        tasks = select_tasks(every, level)
        if not tasks:
            raise UserError(
                f"math has no problem for {split!r} ({level.meaning}); raise env.math.train, dev "
                "and test, or give a larger env.math.file"
            )
        return tasks

    def make_env(self) -> MathEnv:
        """Make an environment that can ask any of the problems."""
        return MathEnv(self._find)

    def make_expert(self, seed: int) -> AnswerKey:
        """Make an expert that knows the reference answers; the seed changes nothing."""
        return AnswerKey(self._find)

    def count_games(self) -> Mapping[str, Mapping[str, int]]:
        """Count the problems by split and subject."""
        return {s: Counter(p.kind for p in problems) for s, problems in self._problems.items()}

    def _find(self, task: TaskId) -> Problem:
        return self._problems[task.split][task.index]


def _name(problem: Problem) -> str:
    return f"{problem.kind} {hashlib.sha256(problem.text.encode()).hexdigest()[:12]}"

"""How long a training run will go on: iterations and evaluations counted apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from statistics import median

from declutch.runs.catalogue import key_of

RECENT = 5
"""How many of the last iterations say how long the next ones take."""


@dataclass
class TimeLeft:
    """Estimates the time left of a training run, for its live view and its plain lines.

    An evaluation may take as long as many iterations, and the first one comes before any of them.
    So the two are timed apart, and those still to come are counted apart.

    Attributes:
        total: iterations of the whole run.
        evaluated: iterations after which there is an evaluation.
        done: iterations that are done.
        clock: seconds, for tests.
    """

    total: int
    evaluated: Collection[int]
    done: int = 0
    clock: Callable[[], float] = time.monotonic
    _iterations: list[float] = field(default_factory=list)
    _evaluations: list[float] = field(default_factory=list)
    _began: float | None = None
    _share: float = 0.0
    _since: float = 0.0

    def __post_init__(self) -> None:
        self._since = self.clock()

    def begin_evaluation(self) -> None:
        """An evaluation begins."""
        if self._began is None:
            self._began, self._share = self.clock(), 0.0

    def count_games(self, done: int, total: int) -> None:
        """So many games of the evaluation under way are played."""
        self._share = done / max(total, 1)

    def end_evaluation(self) -> None:
        """The evaluation under way is done."""
        if self._began is not None:
            self._evaluations.append(self.clock() - self._began)
            self._began = None
            # What comes next began now, unless an iteration is under way.
            if not self._iterations:
                self._since = self.clock()

    def end_iteration(self, metrics: Mapping[str, float]) -> None:
        """An iteration is done, with these metrics."""
        whole = metrics.get(key_of("time", "iteration"), self.clock() - self._since)
        self._iterations.append(max(whole - metrics.get(key_of("time", "eval"), 0.0), 0.0))
        self.done += 1
        self._since = self.clock()

    @property
    def seconds(self) -> float | None:
        """Estimated seconds to the end of the run; None until an iteration is done."""
        if not self._iterations:
            return None
        # The first iteration warms up: it counts as long as there is hardly another.
        kept = self._iterations[1:] if len(self._iterations) > 2 else self._iterations
        each, waiting = median(kept[-RECENT:]), self.total - self.done
        if self._began is None:
            spent = min(self.clock() - self._since, each) if waiting else 0.0
            return each * waiting - spent + self._evaluation() * self._num_evaluations()
        # The iteration under way is as good as done, but for its evaluation.
        rest = max(self._evaluation() - (self.clock() - self._began), 0.0)
        return each * max(waiting - 1, 0) + rest + self._evaluation() * self._num_evaluations()

    def _num_evaluations(self) -> int:
        """Evaluations that have not begun."""
        under_way = self._began is not None
        return max(sum(number > self.done for number in self.evaluated) - under_way, 0)

    def _evaluation(self) -> float:
        """Seconds of a whole evaluation, by the one under way or the last; 0 if unknown."""
        if self._began is not None and self._share > 0:
            return (self.clock() - self._began) / self._share
        return self._evaluations[-1] if self._evaluations else 0.0

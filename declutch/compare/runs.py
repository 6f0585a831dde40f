"""The runs of a comparison read back, and which evaluations stand against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from declutch.compare.grid import Arm, RunId
from declutch.evaluation.intervals import NOTHING, Estimate
from declutch.evaluation.results import EvalResult
from declutch.evaluation.summary import check_poolable, success_rates
from declutch.ground.errors import UserError
from declutch.runs.catalogue import key_of
from declutch.runs.coupling import CouplingRecord, read_coupling
from declutch.runs.folder import RunFolder
from declutch.runs.read import Metrics, by_iteration, read_evaluations, read_metrics


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A comparison's run read back from its folder as far as it came: its evaluations and metrics.

    Attributes:
        evaluations: by iteration; 0 is the cold start.
        metrics: one mapping per iteration on record.
        coupling: gradient cosines by iteration, as far as they were measured.
    """

    id: RunId
    evaluations: Mapping[int, EvalResult]
    metrics: tuple[Metrics, ...]
    coupling: Mapping[int, CouplingRecord] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[int, float]:
        """Iteration -> seconds of training up to its end; evaluations do not count."""
        spent = accumulate(training_seconds(row) for row in self.metrics)
        numbers = (int(row["iteration"] or 0) for row in self.metrics)
        return {0: 0.0, **dict(zip(numbers, spent, strict=True))}


class Pick(NamedTuple):
    """One evaluation picked from those of a comparison's runs, by run and iteration."""

    run: TrainedRun
    iteration: int

    @property
    def result(self) -> EvalResult:
        return self.run.evaluations[self.iteration]


Picks = tuple[Pick, ...]


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison read back: those evaluated, and what is missing or damaged.

    Attributes:
        arms: in the order of the tables; the first method is the one others are compared with.
        runs: those with an evaluation.
        notes: what is missing or damaged, one sentence each.
    """

    arms: tuple[Arm, ...]
    runs: tuple[TrainedRun, ...]
    notes: tuple[str, ...]

    def of(self, arm: Arm) -> tuple[TrainedRun, ...]:
        return tuple(run for run in self.runs if run.id.arm == arm)


@dataclass(frozen=True)
class Selection:
    """Selection among the evaluations of a comparison's runs: one of each that has come so far.

    Attributes:
        name: the choice in words, e.g. "at iteration 60".
        picks: by arm, each arm's in order of seeds.
        notes: which runs are left out.
    """

    name: str
    picks: Mapping[Arm, Picks]
    notes: tuple[str, ...]


def read_comparison(out: Path, ids: Sequence[RunId]) -> Comparison:
    """Read the runs of a comparison back from its folder: their evaluations and metrics.

    Raises:
        UserError: evaluations that cannot stand in one table.
    """
    notes: list[str] = []
    runs = []
    for run_id in sorted(ids, key=lambda run: run.seed):
        folder = RunFolder(out / str(run_id))
        damaged: list[str] = []
        named = by_iteration(read_evaluations(folder, damaged))
        notes += [f"{run_id}: {note}" for note in damaged]
        if not named:
            notes.append(f"{run_id} has no evaluation yet.")
            continue
        results = {
            iteration: replace(result, policy=f"{run_id} at iteration {iteration}")
            for iteration, result in named.items()
        }
        unread: list[str] = []
        coupling = {each.iteration: each for each in read_coupling(folder, unread)}
        notes += [f"{run_id}: {note}" for note in unread]
        runs.append(TrainedRun(run_id, results, read_metrics(folder, []), coupling))
    if runs:
        check_poolable([result for run in runs for result in run.evaluations.values()])
    return Comparison(tuple(dict.fromkeys(run.arm for run in ids)), tuple(runs), tuple(notes))


def at_iteration(comparison: Comparison, iteration: int | None = None) -> Selection:
    """Select the evaluations of a comparison's runs at one iteration of training.

    Args:
        iteration: None takes the last that all runs have that were evaluated after training began.
    Raises:
        UserError: no run was evaluated then.
    """
    trained = _trained(comparison)
    if iteration is None:
        common = set.intersection(*(set(run.evaluations) for run in trained)) if trained else set()
        iteration = max(common, default=0)
    elif not any(iteration in run.evaluations for run in comparison.runs):
        known = sorted({key for run in comparison.runs for key in run.evaluations})
        raise UserError(
            f"no run was evaluated at iteration {iteration}; there are {', '.join(map(str, known))}"
        )
    picks = picks_at(trained, iteration)
    return _select(comparison, f"at iteration {iteration}", picks)


def at_equal_time(comparison: Comparison) -> Selection:
    """Select each comparison run's last evaluation within the training time of the shortest run."""
    timed = [run for run in _trained(comparison) if run.metrics]
    totals = {run: max(run.seconds.values()) for run in timed}
    budget = min(totals.values(), default=0.0)
    last = {run: _last_within(run, budget) for run in timed}
    picks = [Pick(run, iteration) for run, iteration in last.items() if iteration is not None]
    selection = _select(comparison, f"after at most {budget:.0f} s of training", picks)
    shortest = [f"The shortest is {r.id}." for r, spent in totals.items() if spent == budget]
    return replace(selection, notes=(*selection.notes, *shortest))


@cache
def success_rows(picks: Picks) -> dict[tuple[str, str], Estimate]:
    """Success by (level, kind), pooled over evaluations of a comparison's runs; {} for no runs."""
    return success_rates(*(pick.result for pick in picks)) if picks else {}


def success_of(picks: Picks, level: str, kind: str = "") -> Estimate:
    """Pool the success on one level over evaluations picked from the runs of a comparison."""
    return success_rows(picks).get((level, kind), NOTHING)


def picks_at(runs: Sequence[TrainedRun], iteration: int) -> Picks:
    """Pick the evaluations at one iteration, of the runs of a comparison that have it."""
    return tuple(Pick(run, iteration) for run in runs if iteration in run.evaluations)


def distinct_starts(runs: Sequence[TrainedRun]) -> Picks:
    """Distinct cold starts of a comparison's runs; those that played all games alike are one."""
    starts: list[Pick] = []
    for start in picks_at(runs, 0):
        if all(start.result.games != other.result.games for other in starts):
            starts.append(start)
    return tuple(starts)


def training_seconds(row: Metrics) -> float:
    """Seconds that a comparison's run trained in an iteration; its evaluation does not count."""
    whole, evaluation = (row.get(key_of("time", name)) for name in ("iteration", "eval"))
    return (whole or 0.0) - (evaluation or 0.0)


def _trained(comparison: Comparison) -> list[TrainedRun]:
    return [run for run in comparison.runs if max(run.evaluations) > 0]


def _last_within(run: TrainedRun, budget: float) -> int | None:
    spent = run.seconds
    return max((i for i in run.evaluations if spent.get(i, math.inf) <= budget), default=None)


def _select(comparison: Comparison, name: str, picks: Sequence[Pick]) -> Selection:
    chosen = {pick.run for pick in picks}
    missing = [str(run.id) for run in comparison.runs if run not in chosen]
    notes = (f"Not evaluated {name}: {', '.join(missing)}.",) if missing else ()
    by_arm = {
        arm: tuple(pick for pick in picks if pick.run.id.arm == arm) for arm in comparison.arms
    }
    return Selection(name, by_arm, notes)

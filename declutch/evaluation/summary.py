"""Evaluations summarised: success with intervals, behaviour, and paired comparisons.

Time-outs are failures. Plays that ended in an environment error are no evidence about the policy:
they are left out of every n and mean, and their number is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from declutch.evaluation.behaviour import Shares, shares_of
from declutch.evaluation.intervals import (
    NOTHING,
    Estimate,
    McNemar,
    difference_over_runs,
    mcnemar,
    mean_of_independent,
    paired_difference,
    success_over_runs,
    success_rate,
    unpaired_difference,
)
from declutch.evaluation.results import EvalResult, GameResult, Tally
from declutch.evaluation.variance import FloatArray
from declutch.ground.errors import UserError
from declutch.records import Outcome

MAIN_LEVELS = ("L0", "L1", "L2")
MEAN_LEVEL = "mean"
_NO_PLAYS = Tally({}, {}, set())


@dataclass(frozen=True)
class Row:
    """Row of an evaluation's summary: success and behaviour of a policy on a level and task type.

    Attributes:
        level: level, or "mean" for the unweighted mean of L0, L1 and L2.
        kind: task type, "" for all.
        success: share won; `success.n` counts games.
        num_plays: plays behind the row, environment errors left out.
        num_env_errors: plays left out.
        timed_out: share of plays that ran out of steps.
        score: mean score of the plays, in [0, 1].
        finished_positive: share of plays as `results.is_finished_positive` has it.
        shares, shares_won, shares_failed: behaviour over all plays, the won ones, the others. In
            the mean over levels these and the shares of plays pool the plays: levels weigh by size.
    """

    level: str
    kind: str
    success: Estimate
    num_plays: int
    num_env_errors: int
    timed_out: float
    score: float
    finished_positive: float
    shares: Shares
    shares_won: Shares
    shares_failed: Shares


@dataclass(frozen=True)
class PairedRow:
    """Row of a paired summary of evaluations: success of two policies on the same games.

    Attributes:
        level, kind: as in `Row`.
        before, after: mean success of either on the games both played.
        difference: after minus before; `difference.n` counts games.
        test: exact McNemar where there is one run and one seed, else None.
    """

    level: str
    kind: str
    before: float
    after: float
    difference: Estimate
    test: McNemar | None


def summarise(*runs: EvalResult, by_kind: bool = True) -> tuple[Row, ...]:
    """Summary of evaluations: success and behaviour per level and task type, and the mean level.

    Returns:
        Rows per level, first of all kinds and then of each, and at the end the unweighted mean over
        L0, L1 and L2 where all of them were played.
    Args:
        runs: one evaluation, whose intervals are over its games, or the same evaluation of several
            training runs, whose intervals are over runs and games.
        by_kind: false leaves the rows of single kinds out.
    Raises:
        UserError: runs that differ in protocol, temperature or games cannot be pooled.
    """
    return tuple(
        _describe(level, kind, success, _plays(runs, level, kind))
        for (level, kind), success in success_rates(*runs, by_kind=by_kind).items()
    )


def success_rates(*runs: EvalResult, by_kind: bool = True) -> dict[tuple[str, str], Estimate]:
    """Summary of evaluations by success alone: what `summarise` has of it, by level and task type.

    It costs a fraction of the whole summary, which counts every action of every play.
    """
    check_poolable(runs)
    pairs = [(level, kind) for level, kind in _level_kinds(runs) if by_kind or not kind]
    found = {(level, kind): _success(runs, level, kind) for level, kind in pairs}
    if all(level in _levels(runs) for level in MAIN_LEVELS):
        found[MEAN_LEVEL, ""] = _mean_success(runs, found)
    return found


def paired(
    before: EvalResult | Sequence[EvalResult],
    after: EvalResult | Sequence[EvalResult],
    *,
    by_kind: bool = True,
    is_by_seed: bool = True,
) -> tuple[PairedRow, ...]:
    """Paired summary of two policies' evaluations on the games both played, per level and type.

    One evaluation each has intervals over the games of these two. Several have intervals over runs
    and games, which alone can tell whether methods differ.

    Args:
        before, after: one evaluation each, or sequences.
        by_kind: false leaves the rows of single kinds out.
        is_by_seed: the r-th members of both sequences belong to the same training seed; false pairs
            by game only, and each side then needs at least two runs.
    Raises:
        UserError: the two were evaluated on different games, or share none; runs that cannot be
            paired.
    """
    first, second = _as_runs(before), _as_runs(after)
    if is_by_seed and len(first) != len(second):
        raise UserError(f"cannot pair {len(first)} runs with {len(second)}: give as many of each")
    if not is_by_seed and min(len(first), len(second)) < 2:
        raise UserError(
            f"cannot compare {len(first)} runs with {len(second)} of other seeds: a difference of "
            "methods needs at least two of each"
        )
    check_poolable(first)
    check_poolable(second)
    for one in first:
        for two in second:
            _check_same_games(one, two)
    common = [level for level in _levels(first) if level in _levels(second)]
    if not common:
        raise UserError(
            f"{first[0].policy!r} and {second[0].policy!r} share no evaluated level: "
            f"{', '.join(_levels(first)) or 'none'} against {', '.join(_levels(second)) or 'none'}"
        )
    rows = [
        _paired_row(_pair(first, second, level, kind, is_by_seed), level, kind)
        for level, kind in _level_kinds(first)
        if level in common and (by_kind or not kind)
    ]
    if all(level in common for level in MAIN_LEVELS):
        pairs = [_pair(first, second, level, "", is_by_seed) for level in MAIN_LEVELS]
        rows.append(_paired_mean_row(pairs, rows))
    return tuple(rows)


def check_poolable(runs: Sequence[EvalResult]) -> None:
    """Refuse to summarise evaluations in one summary that were not made alike.

    Raises:
        UserError: none, or some that differ in protocol, temperature, steps or games.
    """
    if not runs:
        raise UserError("no evaluation was given")
    for run in runs[1:]:
        if run.protocol != runs[0].protocol:
            raise UserError(
                f"cannot pool cold-start protocols {runs[0].protocol!r} ({runs[0].policy}) and "
                f"{run.protocol!r} ({run.policy}): report them in separate tables"
            )
        if None not in (steps := (runs[0].max_steps, run.max_steps)) and steps[0] != steps[1]:
            raise UserError(
                f"cannot pool plays of at most {steps[0]} steps ({runs[0].policy}) and {steps[1]} "
                f"({run.policy}): evaluate both with the same env.max_steps"
            )
        _check_temperature(runs[0], run)
        _check_same_games(runs[0], run)


def _as_runs(runs: EvalResult | Sequence[EvalResult]) -> tuple[EvalResult, ...]:
    return (runs,) if isinstance(runs, EvalResult) else tuple(runs)


def _levels(runs: Sequence[EvalResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(level for run in runs for level in run.levels))


def _level_kinds(runs: Sequence[EvalResult]) -> list[tuple[str, str]]:
    found = {pair for run in runs for pair in run.tallies}
    return [
        (level, kind)
        for level in _levels(runs)
        for kind in ("", *sorted(kind for its_level, kind in found if its_level == level and kind))
    ]


def _plays(runs: Sequence[EvalResult], level: str, kind: str) -> list[GameResult]:
    levels = MAIN_LEVELS if level == MEAN_LEVEL else (level,)
    games = (game for run in runs for game in run.games if game.level in levels)
    return [game for game in games if kind in ("", game.kind)]


def _tallies(runs: Sequence[EvalResult], level: str, kind: str) -> list[Tally]:
    return [run.tallies.get((level, kind), _NO_PLAYS) for run in runs]


def _game_means(tallies: Sequence[Tally], names: Sequence[str]) -> FloatArray:
    """f[R, G]: share of a game's counted plays that were won; NaN where there is none."""
    won, played = (
        np.array([[part.get(name, 0) for name in names] for part in parts], dtype=np.float64)
        for parts in ([one.won for one in tallies], [one.played for one in tallies])
    )
    return np.divide(won, played, out=np.full_like(won, np.nan), where=played > 0)


def _names(tallies: Sequence[Tally]) -> list[str]:
    return sorted({name for tally in tallies for name in tally.played})


def _num_seeds(tallies: Sequence[Tally]) -> int:
    return len(set().union(*(tally.seeds for tally in tallies)))


def _success(runs: Sequence[EvalResult], level: str, kind: str) -> Estimate:
    tallies = _tallies(runs, level, kind)
    return success_rate(_game_means(tallies, _names(tallies)), num_seeds=_num_seeds(tallies))


def _mean_success(
    runs: Sequence[EvalResult], found: Mapping[tuple[str, str], Estimate]
) -> Estimate:
    if len(runs) == 1:
        return mean_of_independent(
            [found[level, ""] for level in _levels(runs) if level in MAIN_LEVELS]
        )
    strata = []
    for level in _levels(runs):
        if level in MAIN_LEVELS:
            tallies = _tallies(runs, level, "")
            strata.append(_game_means(tallies, _names(tallies)))
    return success_over_runs(strata)


def _describe(level: str, kind: str, success: Estimate, plays: Sequence[GameResult]) -> Row:
    counted = [game for game in plays if game.is_counted]
    timed_out = sum(game.outcome is Outcome.TIMED_OUT for game in counted)
    finished = sum(game.is_finished_positive for game in counted)
    score = math.fsum(game.score for game in counted)
    return Row(
        level=level,
        kind=kind,
        success=success,
        num_plays=len(counted),
        num_env_errors=len(plays) - len(counted),
        timed_out=timed_out / len(counted) if counted else math.nan,
        score=score / len(counted) if counted else math.nan,
        finished_positive=finished / len(counted) if counted else math.nan,
        shares=shares_of(game.counts for game in counted),
        shares_won=shares_of(game.counts for game in counted if game.is_won),
        shares_failed=shares_of(game.counts for game in counted if not game.is_won),
    )


@dataclass(frozen=True)
class _Pair:
    """Game means f[R, G] of both sides, on the games both played.

    Paired by seed, row r is the same seed on both sides, and cells that one side lacks are NaN on
    both.
    """

    before: FloatArray
    after: FloatArray
    num_seeds: int
    is_by_seed: bool


def _pair(
    first: Sequence[EvalResult],
    second: Sequence[EvalResult],
    level: str,
    kind: str,
    is_by_seed: bool,
) -> _Pair:
    one, two = _tallies(first, level, kind), _tallies(second, level, kind)
    names = sorted(set(_names(one)) & set(_names(two)))
    before, after = _game_means(one, names), _game_means(two, names)
    seeds = max(_num_seeds(one), _num_seeds(two))
    if is_by_seed:
        both = ~np.isnan(before) & ~np.isnan(after)
        mask = np.where(both, 0.0, np.nan)
        before, after = before + mask, after + mask
    keep = ~np.isnan(before).all(axis=0) & ~np.isnan(after).all(axis=0)
    return _Pair(before[:, keep], after[:, keep], seeds, is_by_seed)


def _paired_row(pair: _Pair, level: str, kind: str) -> PairedRow:
    if pair.before.shape[1] == 0:
        return PairedRow(level, kind, math.nan, math.nan, NOTHING, None)
    if pair.is_by_seed:
        difference = paired_difference(pair.before, pair.after)
    else:
        difference = unpaired_difference([pair.before], [pair.after])
    is_single = len(pair.before) == len(pair.after) == 1 and pair.num_seeds == 1
    return PairedRow(
        level=level,
        kind=kind,
        before=float(np.nanmean(pair.before)),
        after=float(np.nanmean(pair.after)),
        difference=difference,
        test=mcnemar(pair.before[0] > 0, pair.after[0] > 0) if is_single else None,
    )


def _paired_mean_row(pairs: Sequence[_Pair], rows: Sequence[PairedRow]) -> PairedRow:
    parts = [row for row in rows if row.level in MAIN_LEVELS and not row.kind]
    if not pairs[0].is_by_seed:
        sides = [pair.before for pair in pairs], [pair.after for pair in pairs]
        difference = unpaired_difference(*sides)
    elif len(pairs[0].before) == 1:
        difference = mean_of_independent([row.difference for row in parts])
    else:
        difference = difference_over_runs([pair.after - pair.before for pair in pairs])
    return PairedRow(
        level=MEAN_LEVEL,
        kind="",
        before=math.fsum(row.before for row in parts) / len(parts),
        after=math.fsum(row.after for row in parts) / len(parts),
        difference=difference,
        test=None,
    )


def _check_temperature(first: EvalResult, second: EvalResult) -> None:
    one, two = first.temperature, second.temperature
    if one != two and not (math.isnan(one) and math.isnan(two)):
        raise UserError(
            f"cannot pool temperatures {one:g} ({first.policy}) and {two:g} ({second.policy}): "
            "evaluate both at the same one"
        )


def _check_same_games(first: EvalResult, second: EvalResult) -> None:
    for level, manifest in first.manifests.items():
        other = second.manifests.get(level, manifest)
        if other != manifest:
            raise UserError(
                f"level {level} was evaluated on different games: manifest {manifest} for "
                f"{first.policy!r}, {other} for {second.policy!r}; evaluate both on the same data"
            )

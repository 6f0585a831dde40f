"""Means with 95% intervals, and paired differences, for success rates over games and over runs.

Notation: G games, R training runs (seeds). The interval of one run is over games: it says how the
run would do on other games of the kind, and nothing about another run of the same method. The
interval of several runs is over runs and games; only such a one can compare methods. Several
evaluation seeds of one game are averaged first, so that replaying a game narrows nothing but that
game's own noise. Missing plays are NaN and weigh nothing. Every random draw comes from an explicit
seed, so the same data give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from declutch.evaluation.bootstrap import percentile_interval
from declutch.evaluation.variance import (
    FloatArray,
    fill_gaps,
    half_width,
    half_width_unpaired,
    share_ends,
)

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000

OVER_GAMES = "games of this run"
OVER_RUNS = "runs and games"


@dataclass(frozen=True)
class Estimate:
    """A statistical estimate of an evaluation: a mean, its 95% interval, and the units behind it.

    Attributes:
        mean: the point estimate; NaN when n is 0.
        low, high: ends of the interval; NaN when n is 0.
        n: units behind the mean, as the caller counts them (plays, or games).
        num_runs: training runs that the interval is over; one says nothing about other runs.
    """

    mean: float
    low: float
    high: float
    n: int
    num_runs: int = 1

    @property
    def over(self) -> str:
        """What the interval is over, in words: what might have come out otherwise by chance."""
        return OVER_GAMES if self.num_runs == 1 else OVER_RUNS

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test, beside the intervals of an evaluation: two policies on the same games.

    Attributes:
        only_first: games won by the first alone.
        only_second: games won by the second alone.
        p_value: two-sided; 1 where the two never differ.
    """

    only_first: int
    only_second: int
    p_value: float


def wilson(num_successes: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Wilson's score interval for the success share of an evaluation's independent plays.

    It is computed as `scipy.stats.binomtest` does, whose import alone takes a second.
    """
    if n == 0:
        return NOTHING
    share = num_successes / n
    low, high = _wilson_ends(share, n, confidence)
    # Rounding must not take the end off the share itself.
    low, high = (0.0 if num_successes == 0 else low), (1.0 if num_successes == n else high)
    return Estimate(share, low, high, n)


def _wilson_ends(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Ends of Wilson's interval of a share of n trials, which need not be a whole number."""
    z = float(ndtri(0.5 + 0.5 * confidence))
    spread = 2 * (n + z**2)
    middle = (2 * n * share + z**2) / spread
    half = z / spread * math.sqrt(4 * n * share * (1 - share) + z**2)
    return middle - half, middle + half


def share_by_cluster(successes: ArrayLike, counts: ArrayLike) -> Estimate:
    """Wilson's interval for the success share of an evaluation's trials that come in clusters.

    The interval is that of as many independent trials as the variance between the clusters says
    these are worth; no more than there are. Where all succeed, or all fail, nothing is known of
    that variance, and a cluster counts as one trial.

    Args:
        successes, counts: [C] of each cluster; no count is 0.
    Returns:
        `n` counts trials.

    Source: Dean and Pagano 2015, "Evaluating confidence interval methods for binomial proportions
    in clustered surveys", Journal of Survey Statistics and Methodology 3(4).
    """
    won = np.asarray(successes, dtype=np.float64)
    sizes = np.asarray(counts, dtype=np.float64)
    total = float(sizes.sum())
    if total == 0:
        return NOTHING
    share = float(won.sum()) / total
    clusters, spread = len(sizes), share * (1 - share)
    worth = float(clusters)
    if clusters > 1 and spread:
        residuals = float(((won - share * sizes) ** 2).sum())
        variance = clusters / (clusters - 1) * residuals / total**2
        worth = min(total, spread / variance) if variance else total
    low, high = _wilson_ends(share, worth, CONFIDENCE)
    return Estimate(share, max(0.0, low), min(1.0, high), round(total))


def bootstrap_mean(
    values: ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Mean with a percentile interval from a bootstrap over the games of one evaluation's run.

    Args:
        values: f[G], one number per game (already averaged over evaluation seeds); NaN where not
            played.
        num_resamples: bootstrap resamples.
        seed: of the resampling alone.
        confidence: two-sided coverage.
    Returns:
        The mean over played games; `n` counts them.
    """
    played = _played([values])[0]
    if played.shape[1] == 0:
        return NOTHING
    if len(played) > 1:
        raise ValueError("a bootstrap over games is for one run, not for several")
    low, high = percentile_interval(played[0], (1 - confidence) / 2, num_resamples, seed)
    return Estimate(float(np.mean(played[0])), low, high, played.shape[1])


def success_rate(values: ArrayLike, *, num_seeds: int = 1, seed: int = 0) -> Estimate:
    """Success share in an evaluation, with an interval over its games, or over runs and games.

    One run and one evaluation seed: Wilson over the plays. One run and several seeds: the bootstrap
    over games. Several runs: `success_over_runs`. A bootstrap of nothing but failures, or of
    nothing but successes, would have zero width; there Wilson with one play per game is given,
    which is the wider of the two.

    Args:
        values: shares in [0, 1]: f[G], one per game, or f[R, G] with one row per training run, all
            on the same games; NaN where not played.
        num_seeds: evaluation seeds that were averaged into each value.
    Returns:
        `n` counts games played at least once.
    """
    (matrix,) = _played([values])
    num_runs, num_games = matrix.shape
    if num_games == 0:
        return NOTHING
    if num_runs > 1:
        return success_over_runs([matrix])
    mean = float(np.mean(matrix))
    if mean in (0.0, 1.0) or num_seeds == 1:
        return wilson(round(mean * num_games), num_games)
    return bootstrap_mean(matrix, seed=seed)


def success_over_runs(strata: Sequence[ArrayLike]) -> Estimate:
    """Intervals for success: the share over runs and games, the mean of the levels.

    It is Wilson's interval with the half-width of `variance.half_width` in the place of the
    binomial one, so that it stays in [0, 1]. Where all succeed, or all fail, nothing is known of
    the spread, and every game counts as one play.

    Args:
        strata: f[R, G] of each level; the same R in each, row r being the same run. A run counts
            where it has plays on every level; where one alone has, the interval is over its games.
    """
    matrices = _played(strata)
    if any(matrix.size == 0 for matrix in matrices):
        return NOTHING
    num_runs, n = len(matrices[0]), sum(matrix.shape[1] for matrix in matrices)
    if num_runs == 1:
        return mean_of_independent([success_rate(matrix, num_seeds=2) for matrix in matrices])
    mean = _mean_of_strata(matrices)
    half = float(half_width([fill_gaps(matrix) for matrix in matrices]))
    if half == 0 or mean in (0.0, 1.0):
        return replace(wilson(round(mean * n), n), mean=mean, num_runs=num_runs)
    low, high = share_ends(np.asarray(mean), np.asarray(half))
    return Estimate(mean, float(low), float(high), n, num_runs)


def mean_of_independent(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean of independent estimates of success, its interval by variance recovery.

    Each end adds in squares the distances of the parts' ends from their means, so parts at 0 or 1
    keep their one-sided uncertainty.

    Source: Zou and Donner 2008, "Construction of confidence intervals about effect measures: a
    general approach", Statistics in Medicine 27 (MOVER).
    """
    if not estimates or any(part.n == 0 for part in estimates):
        return NOTHING
    count = len(estimates)
    mean = math.fsum(part.mean for part in estimates) / count
    below = math.hypot(*(part.mean - part.low for part in estimates)) / count
    above = math.hypot(*(part.high - part.mean for part in estimates)) / count
    return Estimate(mean, mean - below, mean + above, sum(part.n for part in estimates))


def paired_difference(
    before: ArrayLike,
    after: ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Mean paired difference `after - before` in an evaluation, with the interval that suits.

    Pairs of one run have the bootstrap over games, which says nothing about other runs. Several
    runs have `difference_over_runs`. Where every game's difference is the same whole number (no
    game changed its outcome, say), a bootstrap would claim to know the difference exactly; there
    the share of games that may differ from that is bounded by Wilson instead.

    Args:
        before, after: f[G] or f[R, G], column g being the same game in both and row r a pair of
            runs; a cell counts where both were played. Success shares in [0, 1].
    """
    first, second = _as_matrix(before), _as_matrix(after)
    if first.shape != second.shape:
        raise ValueError(f"paired data differ in shape: {first.shape} and {second.shape}")
    (matrix,) = _played([second - first])
    if len(matrix) > 1:
        return difference_over_runs([matrix])
    estimate = bootstrap_mean(matrix, num_resamples=num_resamples, seed=seed, confidence=confidence)
    if estimate.n and estimate.low == estimate.high and estimate.mean in (-1.0, 0.0, 1.0):
        return _bounded_by_games(estimate, confidence)
    return estimate


def difference_over_runs(strata: Sequence[ArrayLike]) -> Estimate:
    """Intervals for comparisons: the mean paired difference over runs and games.

    Args:
        strata: f[R, G] of each level: a game's difference in success in a pair of runs, of one
            training seed. A pair counts where it has plays on every level; where one alone has, the
            interval is over its games.
    """
    matrices = _played(strata)
    if any(matrix.size == 0 for matrix in matrices):
        return NOTHING
    if len(matrices[0]) == 1:
        return mean_of_independent(
            [paired_difference(np.zeros_like(matrix), matrix) for matrix in matrices]
        )
    half = float(half_width([fill_gaps(matrix) for matrix in matrices]))
    return _around(_mean_of_strata(matrices), half, matrices)


def unpaired_difference(before: Sequence[ArrayLike], after: Sequence[ArrayLike]) -> Estimate:
    """Difference of two methods' means in an evaluation whose runs share games, and no seeds.

    Its interval is over runs and games.

    Args:
        before, after: f[R1, G] and f[R2, G] of each level, at least 2 runs of both; column g is the
            same game. A game counts where both played it, a run where it has plays on every level.
    Returns:
        Nothing where fewer than 2 runs of a side count.
    """
    sides: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for one, two in zip(before, after, strict=True):
        first, second = _as_matrix(one), _as_matrix(two)
        common = ~np.isnan(first).all(axis=0) & ~np.isnan(second).all(axis=0)
        sides[0].append(first[:, common])
        sides[1].append(second[:, common])
    first_played, second_played = _played(sides[0]), _played(sides[1])
    if any(matrix.size == 0 for matrix in (*first_played, *second_played)):
        return NOTHING
    if min(len(first_played[0]), len(second_played[0])) < 2:
        return NOTHING
    mean = _mean_of_strata(second_played) - _mean_of_strata(first_played)
    filled = [[fill_gaps(matrix) for matrix in side] for side in (first_played, second_played)]
    estimate = _around(mean, float(half_width_unpaired(*filled)), second_played)
    return replace(estimate, num_runs=min(len(first_played[0]), len(second_played[0])))


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Exact McNemar test, beside an evaluation's intervals, that two policies win equally often.

    Args:
        first, second: bool[G], one play of each game by each, in the same order.
    """
    one, two = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.shape != two.shape:
        raise ValueError(f"paired data differ in shape: {one.shape} and {two.shape}")
    only_first, only_second = int((one & ~two).sum()), int((two & ~one).sum())
    differing = only_first + only_second
    p_value = _binomial_p_value(only_second, differing) if differing else 1.0
    return McNemar(only_first, only_second, p_value)


def _binomial_p_value(num_successes: int, n: int) -> float:
    """SciPy's exact test of a share of 1/2, loaded when it is first used, which takes a second."""
    from scipy.stats import binomtest

    return float(binomtest(num_successes, n, 0.5).pvalue)


def _as_matrix(values: ArrayLike) -> FloatArray:
    matrix = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if matrix.ndim != 2:
        raise ValueError(f"expected [games] or [runs, games], got shape {matrix.shape}")
    return matrix


def _played(strata: Sequence[ArrayLike]) -> list[FloatArray]:
    """[R, G] of each stratum: runs with plays in all strata, and games that any of them played."""
    matrices = [_as_matrix(stratum) for stratum in strata]
    runs = np.all([~np.isnan(matrix).all(axis=1) for matrix in matrices], axis=0)
    kept = [matrix[runs] for matrix in matrices]
    return [matrix[:, ~np.isnan(matrix).all(axis=0)] for matrix in kept]


def _mean_of_strata(matrices: Sequence[FloatArray]) -> float:
    return float(np.mean([np.nanmean(matrix) for matrix in matrices]))


def _around(mean: float, half: float, matrices: Sequence[FloatArray]) -> Estimate:
    """A difference of shares with an interval of that half-width, as far as it is in [-1, 1]."""
    n = sum(matrix.shape[1] for matrix in matrices)
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    estimate = Estimate(mean, low, high, n, len(matrices[0]))
    return _bounded_by_games(estimate) if half == 0 else estimate


def _bounded_by_games(estimate: Estimate, confidence: float = CONFIDENCE) -> Estimate:
    """The interval where no game differs from the mean: how many others may, by Wilson."""
    most = wilson(0, estimate.n, confidence).high
    low, high = max(-1.0, estimate.mean - most), min(1.0, estimate.mean + most)
    return replace(estimate, low=low, high=high)

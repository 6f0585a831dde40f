"""Means with 95% intervals, and paired differences, for success rates over games.

Notation: G games, R training runs (seeds). The game is the unit of chance throughout: several
evaluation seeds of one game are averaged first, so that replaying a game narrows nothing but that
game's own noise. Missing plays are NaN and weigh nothing. Every random draw comes from an explicit
seed, so the same data give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
CELLS_PER_CHUNK = 1_000_000

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A statistical estimate of an evaluation: a mean, its 95% interval, and the units behind it.

    Attributes:
        mean: the point estimate; NaN when n is 0.
        low, high: ends of the interval; NaN when n is 0.
        n: units behind the mean, as the caller counts them (plays, or games).
    """

    mean: float
    low: float
    high: float
    n: int

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
    """Wilson's score interval for the success share of an evaluation's independent plays."""
    if n == 0:
        return NOTHING
    interval = binomtest(num_successes, n).proportion_ci(confidence, method="wilson")
    return Estimate(num_successes / n, float(interval.low), float(interval.high), n)


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
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = (share + z**2 / (2 * worth)) / (1 + z**2 / worth)
    half = z / (1 + z**2 / worth) * math.sqrt(spread / worth + z**2 / (4 * worth**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), round(total))


def bootstrap_mean(
    values: ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Mean with a percentile interval from a cluster bootstrap over an evaluation's games.

    Args:
        values: f[G], one number per game (already averaged over evaluation seeds), or f[R, G]
            with one row per training run, all on the same games; NaN where not played. With
            several runs each resample draws runs first, then one set of games that all of its
            runs share, since a hard game is hard for every run.
        num_resamples: bootstrap resamples.
        seed: of the resampling alone.
        confidence: two-sided coverage.
    Returns:
        The mean over played cells; `n` counts games played at least once. Two or three runs are
        too few to show how runs differ: the interval is then too narrow in that direction.
    """
    return bootstrap_mean_of_strata(
        [values], num_resamples=num_resamples, seed=seed, confidence=confidence
    )


def bootstrap_mean_of_strata(
    strata: Sequence[ArrayLike],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Unweighted mean over evaluation levels with a bootstrap interval, games drawn within each.

    Args:
        strata: as `values` of `bootstrap_mean`; the same R in each, row r being the same run,
            drawn together in all strata.
    """
    matrices = [_played_games(stratum) for stratum in strata]
    if not matrices or any(matrix.shape[1] == 0 for matrix in matrices):
        return NOTHING
    rng = np.random.default_rng(seed)
    num_runs = matrices[0].shape[0]
    runs = rng.multinomial(num_runs, np.full(num_runs, 1 / num_runs), size=num_resamples)
    means = np.mean([_resampled_means(matrix, runs, rng) for matrix in matrices], axis=0)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    mean = float(np.mean([np.nanmean(matrix) for matrix in matrices]))
    return Estimate(mean, float(low), float(high), sum(matrix.shape[1] for matrix in matrices))


def success_rate(values: ArrayLike, *, num_seeds: int = 1, seed: int = 0) -> Estimate:
    """Success share over an evaluation's games with the interval that suits: Wilson or bootstrap.

    One run and one evaluation seed: Wilson over the plays. Otherwise the cluster bootstrap over
    games (and runs). A bootstrap of nothing but failures, or of nothing but successes, would have
    zero width; there Wilson with one play per game is given, which is the wider of the two.

    Args:
        values: shares in [0, 1], as in `bootstrap_mean`.
        num_seeds: evaluation seeds that were averaged into each value.
    Returns:
        `n` counts games.
    """
    matrix = _played_games(values)
    num_games = matrix.shape[1]
    if num_games == 0:
        return NOTHING
    mean = float(np.nanmean(matrix))
    if mean in (0.0, 1.0) or (matrix.shape[0] == 1 and num_seeds == 1):
        return wilson(round(mean * num_games), num_games)
    return bootstrap_mean(matrix, seed=seed)


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
    """Mean paired difference `after - before` on the same games, with a cluster bootstrap interval.

    Where every game's difference is the same whole number (no game changed its outcome, say), a
    bootstrap would claim to know the difference exactly; there the share of games that may differ
    from that is bounded by Wilson instead.

    Args:
        before, after: f[G] or f[R, G], column g being the same game in both and row r a pair of
            runs; a cell counts where both were played. Success shares in [0, 1].
    """
    first, second = _as_matrix(before), _as_matrix(after)
    if first.shape != second.shape:
        raise ValueError(f"paired data differ in shape: {first.shape} and {second.shape}")
    estimate = bootstrap_mean(
        second - first, num_resamples=num_resamples, seed=seed, confidence=confidence
    )
    if estimate.n and estimate.low == estimate.high and estimate.mean in (-1.0, 0.0, 1.0):
        most = wilson(0, estimate.n, confidence).high
        low, high = max(-1.0, estimate.mean - most), min(1.0, estimate.mean + most)
        return Estimate(estimate.mean, low, high, estimate.n)
    return estimate


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
    p_value = float(binomtest(only_second, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(only_first, only_second, p_value)


def _as_matrix(values: ArrayLike) -> FloatArray:
    matrix = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if matrix.ndim != 2:
        raise ValueError(f"expected [games] or [runs, games], got shape {matrix.shape}")
    return matrix


def _played_games(values: ArrayLike) -> FloatArray:
    matrix = _as_matrix(values)
    return matrix[:, ~np.isnan(matrix).all(axis=0)]


def _resampled_means(
    matrix: FloatArray, runs: NDArray[np.int64], rng: np.random.Generator
) -> FloatArray:
    """f[B]: mean of each resample of `matrix` [R, G]; `runs` [B, R] says how often a run counts."""
    num_runs, num_games = matrix.shape
    is_played = ~np.isnan(matrix)
    is_full = bool(is_played.all())
    filled = np.where(is_played, matrix, 0.0)
    chunk = max(1, CELLS_PER_CHUNK // (num_runs * num_games))
    means = []
    for start in range(0, len(runs), chunk):
        weight = runs[start : start + chunk].T  # [R, b]
        games = rng.integers(0, num_games, size=(weight.shape[1], num_games))
        total = (filled[:, games].sum(axis=2) * weight).sum(axis=0)
        played = num_games if is_full else is_played[:, games].sum(axis=2)
        count = (played * weight).sum(axis=0)
        means.append(np.divide(total, count, out=np.full(len(games), np.nan), where=count > 0))
    return np.concatenate(means)

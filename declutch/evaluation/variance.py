"""How far a mean over training runs and games may be off: half-widths of 95% intervals.

Notation: R training runs of one method, G games of a level, S levels (strata) that count the same.
Runs and games are both drawn by chance, so that a mean over R × G plays is off for two reasons: the
runs trained might have come out otherwise, and the games might have been easier. The chance of the
single plays is part of both. Every function takes leading dimensions [...] before [R, G] and works
on all of them at once, which is how `benchmarks/coverage.py` simulates thousands of evaluations.

Source: the parts are those of a two-way layout without replication (Searle, Casella and McCulloch
1992, "Variance Components", chapter 4). That each part has a quantile of its own, and that the two
add in squares, was chosen by simulating how often the intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

FloatArray = NDArray[np.float64]

TAIL = 0.975
"""Of an interval that leaves out 2.5% at either end."""
MAX_FILLINGS = 200
NO_SPREAD = 1e-20
"""Rounding leaves a variance of about 1e-34 where run means are equal."""


def half_width(strata: Sequence[FloatArray]) -> FloatArray:
    """Half-width of an interval for a mean over an evaluation's runs and games, by its variance.

    Runs count by Student's t with R − 1 degrees of freedom, games by t with G − 1. Where all runs
    have one mean there is no spread to see, and the chance of the single plays takes its place.

    Args:
        strata: [..., R, G] of each level, without gaps; at least 2 runs, the same in each.
    Returns:
        [...]; infinite where a level has one game, which says nothing about other games.
    """
    run_means = _mean([stratum.mean(axis=-1) for stratum in strata])
    plays = [play_variance(stratum) for stratum in strata]
    games = [
        _by_games(stratum.mean(axis=-2), part) for stratum, part in zip(strata, plays, strict=True)
    ]
    num_runs = run_means.shape[-1]
    spread = run_means.var(axis=-1, ddof=1) / num_runs
    return _add(spread, np.full_like(spread, num_runs - 1), plays, games)


def half_width_unpaired(first: Sequence[FloatArray], second: Sequence[FloatArray]) -> FloatArray:
    """Half-width for a difference, in evaluation, of methods whose runs share games and no seeds.

    Runs count as in Welch's test, with the degrees of freedom that the two variances are worth.

    Args:
        first, second: [..., R1, G] and [..., R2, G] of each level, as in `half_width`.
    """
    pairs = list(zip(first, second, strict=True))
    plays = [play_variance(one) + play_variance(two) for one, two in pairs]
    games = [
        _by_games(two.mean(axis=-2) - one.mean(axis=-2), part)
        for (one, two), part in zip(pairs, plays, strict=True)
    ]
    spreads, squares = [], []
    for side in (first, second):
        run_means = _mean([stratum.mean(axis=-1) for stratum in side])
        num_runs = run_means.shape[-1]
        spreads.append(run_means.var(axis=-1, ddof=1) / num_runs)
        squares.append(spreads[-1] ** 2 / (num_runs - 1))
    spread, worth = spreads[0] + spreads[1], squares[0] + squares[1]
    freedom = np.divide(spread**2, worth, out=np.ones_like(spread), where=worth > 0)
    return _add(spread, freedom, plays, games)


def share_ends(mean: FloatArray, half: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ends of the interval of a share in evaluation whose mean has that half-width by its variance.

    It is Wilson's: the shares p whose own distance to the mean, scaled by the root of p (1 − p), is
    at most what `half` is at the mean. So it stays in [0, 1], and is wider towards the middle.

    Args:
        mean: [...] in (0, 1).
        half: [...] above 0; infinite gives [0, 1].
    """
    # Wilson's number of plays, divided by z²: what makes the binomial half-width equal to `half`.
    worth = mean * (1 - mean) / half**2
    middle = (mean * worth + 0.5) / (worth + 1)
    reach = np.sqrt(worth * mean * (1 - mean) + 0.25) / (worth + 1)
    return np.maximum(0.0, middle - reach), np.minimum(1.0, middle + reach)


def play_variance(stratum: FloatArray) -> FloatArray:
    """Variance, by the chance of single plays, of an evaluation's mean over [..., R, G]: [...].

    It is what is left when runs and games have had their means.
    """
    num_runs, num_games = stratum.shape[-2:]
    rest = stratum - stratum.mean(axis=-1, keepdims=True)
    rest = rest - rest.mean(axis=-2, keepdims=True)
    freedom = max((num_runs - 1) * (num_games - 1), 1)
    return np.asarray((rest**2).sum(axis=(-2, -1)) / freedom / (num_runs * num_games))


def fill_gaps(values: FloatArray) -> FloatArray:
    """Before variance is split into runs and games: fill the gaps where a run lacks a game.

    It is for the variance; a few gaps do not change its size.

    Args:
        values: [R, G]; NaN where not played. No run and no game is without any play.
    Source: Yates 1933, "The analysis of replicated experiments when the field results are
    incomplete", Empire Journal of Experimental Agriculture 1.
    """
    is_gap = np.isnan(values)
    filled = np.where(is_gap, np.nanmean(values), values)
    for _ in range(MAX_FILLINGS if is_gap.any() else 0):
        fit = filled.mean(axis=1, keepdims=True) + filled.mean(axis=0) - filled.mean()
        former, filled = filled, np.where(is_gap, fit, values)
        if np.abs(filled - former).max() < 1e-12:
            break
    return filled


def _by_games(game_means: FloatArray, plays: FloatArray) -> FloatArray:
    """[...]: square of the half-width that is due to the choice of games [..., G]."""
    num_games = game_means.shape[-1]
    if num_games == 1:
        return np.full_like(plays, np.inf)
    variance = np.maximum(0.0, game_means.var(axis=-1, ddof=1) / num_games - plays)
    return np.asarray(stdtrit(num_games - 1, TAIL) ** 2 * variance)


def _add(
    spread: FloatArray,
    freedom: FloatArray,
    plays: Sequence[FloatArray],
    games: Sequence[FloatArray],
) -> FloatArray:
    """[...]: the half-width of runs, of variance `spread`, and of games, over all levels."""
    chance = stdtrit(np.inf, TAIL) ** 2 * _mean(plays) / len(plays)
    runs = np.where(spread < NO_SPREAD, chance, stdtrit(freedom, TAIL) ** 2 * spread)
    return np.asarray(np.sqrt(runs + _mean(games) / len(games)))


def _mean(parts: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.mean(np.stack(parts), axis=0))

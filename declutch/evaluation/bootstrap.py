"""The percentile bootstrap of an evaluation over games, at the cost of one product a row.

A comparison of a hundred runs needs some ten thousand of these intervals, most of them over the
same numbers of games. The games that each resample draws depend on nothing but their number and the
seed, so they are drawn once and kept. A product in single precision gives all resampled sums
nearly, which is enough to tell which few of them the interval's ends lie between; these alone are
added up exactly. The ends are equal, bit for bit, to those of `numpy.quantile` over all resampled
means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from declutch.evaluation.variance import FloatArray

CELLS_PER_CHUNK = 1_000_000
MOST_GAMES_KEPT = 256
"""Resamples of more games are not kept; their memory grows with the number of games."""
MOST_KEPT = 16
"""Numbers of games whose resamples are kept; each takes 60 KB for a game at 10,000 resamples."""
EXACT = 64
"""Parts of a game that values may be multiples of for single precision to add them up exactly."""
SLACK = 1e-2
"""How far single precision may be off, as a multiple of the largest value; twice what it can be."""


@dataclass(frozen=True, eq=False)
class _Draws:
    """The games of each resample, i[B, G], and how often each game is among them, f32[B, G]."""

    games: NDArray[np.int16]
    counts: NDArray[np.float32]


def percentile_interval(
    values: FloatArray, tail: float, num_resamples: int, seed: int
) -> tuple[float, float]:
    """Ends of the bootstrap's percentile interval of an evaluation's mean over games.

    Args:
        values: f[G], finite, at least one.
        tail: share of the resamples beyond either end.
    """
    num_games = len(values)
    if num_games > MOST_GAMES_KEPT:
        means = _resampled_means(values, num_resamples, seed)
        low, high = np.quantile(means, [tail, 1 - tail])
        return float(low), float(high)
    draws = _draw(num_games, num_resamples, seed)
    sums = draws.counts @ values.astype(np.float32)
    order = np.sort(sums)
    low, high = (_quantile(values, draws.games, sums, order, share) for share in (tail, 1 - tail))
    return low, high


def _quantile(
    values: FloatArray,
    games: NDArray[np.int16],
    sums: NDArray[np.float32],
    order: NDArray[np.float32],
    share: float,
) -> float:
    """A quantile of the exact means, found through the sums [B] of single precision in order."""
    place = (len(order) - 1) * share
    first = int(place)
    second = min(first + 1, len(order) - 1)
    scaled = values * EXACT
    if (scaled == np.rint(scaled)).all() and np.abs(values).max() <= 1:
        # Whole games, halves or quarters: no sum of them is rounded, in either precision.
        one, two = (float(order[rank]) / len(values) for rank in (first, second))
    else:
        slack = np.float32(SLACK * np.abs(values).max())
        low, high = order[first] - slack, order[second] + slack
        near = np.flatnonzero((sums >= low) & (sums <= high))
        exact = np.sort(values[games[near]].sum(axis=1) / len(values))
        num_below = int(np.searchsorted(order, low))
        one, two = float(exact[first - num_below]), float(exact[second - num_below])
    part = place - first
    # As numpy does it: from the nearer of the two, which decides the last bit.
    return one + (two - one) * part if part < 0.5 else two - (two - one) * (1 - part)


@lru_cache(maxsize=MOST_KEPT)
def _draw(num_games: int, num_resamples: int, seed: int) -> _Draws:
    rng = np.random.default_rng(seed)
    games = np.concatenate(list(_chunks(num_games, num_resamples, rng))).astype(np.int16)
    rows = np.arange(num_resamples)[:, None] * num_games
    counts = np.bincount((games + rows).ravel(), minlength=num_resamples * num_games)
    return _Draws(games, counts.reshape(games.shape).astype(np.float32))


def _chunks(
    num_games: int, num_resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """i64[size, G]: the games of some resamples after another, as many as fit into a chunk."""
    chunk = max(1, CELLS_PER_CHUNK // num_games)
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        yield rng.integers(0, num_games, size=(size, num_games))


def _resampled_means(values: FloatArray, num_resamples: int, seed: int) -> FloatArray:
    """f[B]: mean of each resample of `values` [G]."""
    chunks = _chunks(len(values), num_resamples, np.random.default_rng(seed))
    return np.concatenate([values[games].sum(axis=1) / len(values) for games in chunks])

"""How often 95% intervals over runs and games hold the truth, by simulated evaluations.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py [--evaluations 4000] [--seed 0]

A simulated evaluation has R runs of a method on 3 levels of 70 games, each played 3 times. The
chance to win is logistic in the level's ease (0.6, 0.2, -1.5), the game's (standard deviation 1.5),
and the run's; the standard deviation of the last is the spread, in logits. Two methods are equal in
truth. Paired, they have the same games and the same seeds, and half of the variance between runs is
the seeds' own; unpaired, they have the same games and no seed in common.

Columns: `success` is the share won by one method, the mean over the levels, `paired` and `unpaired`
the differences of two. For each stands how often the interval of `declutch.evaluation.intervals`
holds the truth, half its median width in points, and how often the bootstrap that was used before
did, which drew runs and games with replacement. For one run there is only an interval over games,
and what it holds says why it compares no methods.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from declutch.evaluation.variance import FloatArray, half_width, half_width_unpaired, share_ends

SPREADS = (0.0, 0.2, 0.4, 0.8)
NUM_RUNS = (2, 3, 5)
GAMES_PER_LEVEL = 70
EASE = (0.6, 0.2, -1.5)
GAME_SPREAD = 1.5
NUM_PLAYS = 3
NUM_RESAMPLES = 1000
CHUNK = 500
"""Evaluations resampled at once, so that memory stays small."""

Levels = list[FloatArray]
"""Shares won f[E, R, G] of each level, E simulated evaluations."""


@dataclass(frozen=True)
class Coverage:
    """How often intervals held the truth, and half of their median width, as shares."""

    held: float
    half: float

    def __str__(self) -> str:
        return f"{100 * self.held:5.1f} ±{100 * self.half:5.1f}"


def simulate(
    rng: np.random.Generator,
    runs: FloatArray,
    other_runs: FloatArray,
    num_games: Sequence[int] = (),
) -> tuple[Levels, Levels]:
    """Evaluations of two methods on the same games.

    Args:
        runs, other_runs: f[E, R] logits that each run of either method has more than the average.
        num_games: of each level; () is GAMES_PER_LEVEL of all.
    """
    num_games = num_games or (GAMES_PER_LEVEL,) * len(EASE)
    sides: tuple[Levels, Levels] = ([], [])
    for ease, count in zip(EASE, num_games, strict=True):
        games = ease + GAME_SPREAD * rng.normal(size=(len(runs), 1, count))
        for side, effects in zip(sides, (runs, other_runs), strict=True):
            chances = expit(games + effects[:, :, None])
            side.append(rng.binomial(NUM_PLAYS, chances) / NUM_PLAYS)
    return sides


def draw_runs(
    rng: np.random.Generator, num_evaluations: int, num_runs: int, spread: float, is_paired: bool
) -> tuple[FloatArray, FloatArray]:
    """f[E, R] of two methods: what each run has more than the average; paired, row by row alike."""
    shape = (num_evaluations, num_runs)
    seeds, one, two = rng.normal(size=(3, *shape))
    shared = np.sqrt(0.5) if is_paired else 0.0
    own = np.sqrt(1 - shared**2)
    return spread * (shared * seeds + own * one), spread * (shared * seeds + own * two)


def true_success(spread: float) -> float:
    """Mean over the levels of the chance to win, over all games and runs there might be."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    deviation = np.hypot(GAME_SPREAD, spread)
    chances = [expit(ease + deviation * nodes) @ weights / weights.sum() for ease in EASE]
    return float(np.mean(chances))


def cover_success(levels: Levels, truth: float) -> Coverage:
    low, high = share_ends(_mean(levels), half_width(levels))
    return _cover(low, high, truth)


def cover_paired(before: Levels, after: Levels) -> Coverage:
    differences = [two - one for one, two in zip(before, after, strict=True)]
    mean, half = _mean(differences), half_width(differences)
    return _cover(mean - half, mean + half, 0.0)


def cover_unpaired(before: Levels, after: Levels) -> Coverage:
    mean, half = _mean(after) - _mean(before), half_width_unpaired(before, after)
    return _cover(mean - half, mean + half, 0.0)


def cover_by_bootstrap(rng: np.random.Generator, levels: Levels, truth: float) -> Coverage:
    """Runs drawn with replacement, and games of each level that all of them share.

    All evaluations share the draws, which is no matter to how often one of them holds the truth.
    """
    num_runs = levels[0].shape[1]
    runs = rng.multinomial(num_runs, np.full(num_runs, 1 / num_runs), size=NUM_RESAMPLES)
    games = rng.multinomial(
        GAMES_PER_LEVEL,
        np.full(GAMES_PER_LEVEL, 1 / GAMES_PER_LEVEL),
        size=(len(levels), NUM_RESAMPLES),
    )
    ends = []
    for start in range(0, len(levels[0]), CHUNK):
        by_run = sum(
            level[start : start + CHUNK] @ drawn.T.astype(float)
            for level, drawn in zip(levels, games, strict=True)
        )
        means = (by_run * runs.T).sum(axis=1) / (num_runs * GAMES_PER_LEVEL * len(levels))
        ends.append(np.quantile(means, [0.025, 0.975], axis=1))
    low, high = np.concatenate(ends, axis=1)
    return _cover(low, high, truth)


def coverage_rows(
    num_evaluations: int,
    seed: int,
    num_runs: Sequence[int] = NUM_RUNS,
    num_games: Sequence[int] = (),
) -> Iterator[tuple[float, int, dict[str, Coverage]]]:
    """Spread, runs and coverage by what the interval is of, for the intervals in use."""
    for spread in SPREADS:
        for count in num_runs:
            found: dict[str, Coverage] = {}
            draw = _drawer(num_evaluations, count, spread, seed, num_games)
            before, after = draw(True)
            found["success"] = cover_success(after, true_success(spread))
            found["paired"] = cover_paired(before, after)
            found["unpaired"] = cover_unpaired(*draw(False))
            yield spread, count, found


def _drawer(
    num_evaluations: int,
    num_runs: int,
    spread: float,
    seed: int,
    num_games: Sequence[int] = (),
) -> Callable[[bool], tuple[Levels, Levels]]:
    rng = np.random.default_rng([seed, num_runs, round(10 * spread)])

    def draw(is_paired: bool) -> tuple[Levels, Levels]:
        effects = draw_runs(rng, num_evaluations, num_runs, spread, is_paired)
        return simulate(rng, *effects, num_games)

    return draw


def _mean(levels: Levels) -> FloatArray:
    return np.asarray(np.mean([level.mean(axis=(1, 2)) for level in levels], axis=0))


def _cover(low: FloatArray, high: FloatArray, truth: float) -> Coverage:
    is_held = (low <= truth) & (truth <= high)
    return Coverage(float(is_held.mean()), float(np.median(high - low)) / 2)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=4000, help="simulated per row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names = ("success", "bootstrap", "paired", "bootstrap", "unpaired")
    print("| spread | runs | " + " | ".join(f"{name}, %" for name in names) + " |")
    print("|---:|---:|" + "---:|" * len(names))
    rng = np.random.default_rng([options.seed, 1])
    size = (options.evaluations, options.seed)
    for spread, count, found in coverage_rows(*size):
        before, after = _drawer(options.evaluations, count, spread, options.seed)(True)
        differences = [two - one for one, two in zip(before, after, strict=True)]
        cells = (
            found["success"],
            cover_by_bootstrap(rng, after, true_success(spread)),
            found["paired"],
            cover_by_bootstrap(rng, differences, 0.0),
            found["unpaired"],
        )
        print(f"| {spread:.1f} | {count} | " + " | ".join(map(str, cells)) + " |")
    for spread in SPREADS:
        before, after = _drawer(options.evaluations, 1, spread, options.seed)(True)
        differences = [two - one for one, two in zip(before, after, strict=True)]
        success = cover_by_bootstrap(rng, after, true_success(spread))
        difference = cover_by_bootstrap(rng, differences, 0.0)
        print(f"| {spread:.1f} | 1 | – | {success} | – | {difference} | – |")


if __name__ == "__main__":
    main()

"""Intervals against hand-computed numbers, closed forms and coverage."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from declutch.evaluation.intervals import (
    NOTHING,
    OVER_GAMES,
    OVER_RUNS,
    Estimate,
    bootstrap_mean,
    difference_over_runs,
    mcnemar,
    mean_of_independent,
    paired_difference,
    share_by_cluster,
    success_over_runs,
    success_rate,
    unpaired_difference,
    wilson,
)
from declutch.evaluation.variance import half_width, half_width_unpaired

Z = 1.959963984540054


def wilson_by_hand(k: int, n: int) -> tuple[float, float]:
    share = k / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return centre - half, centre + half


def test_wilson_matches_printed_values():
    estimate = wilson(8, 10)
    assert estimate.mean == 0.8
    assert estimate.n == 10
    assert (estimate.low, estimate.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)


@settings(deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_matches_the_formula(pair: tuple[int, int]):
    estimate = wilson(*pair)
    assert (estimate.low, estimate.high) == pytest.approx(wilson_by_hand(*pair), abs=1e-9)
    assert estimate.low <= estimate.mean <= estimate.high


def test_wilson_is_scipys_to_the_last_bit():
    for n in (1, 2, 7, 30, 203):
        for won in {0, 1, n // 3, n // 2, n - 1, n}:
            theirs = binomtest(won, n).proportion_ci(0.95, method="wilson")
            ours = wilson(won, n)
            assert (ours.low, ours.high) == (theirs.low, theirs.high)


def test_share_by_cluster_by_hand():
    estimate = share_by_cluster([2, 1, 0, 3], [2, 4, 1, 3])
    assert (estimate.mean, estimate.n) == (0.6, 10)
    # Residuals 0.8, -1.4, -0.6, 1.2: squares sum to 4.4.
    worth = 0.6 * 0.4 / (4 / 3 * 4.4 / 100)
    centre = (0.6 + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z / (1 + Z**2 / worth) * math.sqrt(0.24 / worth + Z**2 / (4 * worth**2))
    assert (estimate.low, estimate.high) == pytest.approx((centre - half, centre + half))


@pytest.mark.parametrize("won", [0, 1])
def test_equal_clusters_count_as_one_trial_each(won: int):
    estimate = share_by_cluster([5 * won] * 8, [5] * 8)
    expected = wilson(8 * won, 8)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert estimate.n == 40


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=30))
def test_clusters_never_narrow_the_interval(pairs: list[tuple[int, int]]):
    counts = [count for _, count in pairs]
    successes = [min(won, count) for won, count in pairs]
    estimate = share_by_cluster(successes, counts)
    independent = wilson(sum(successes), sum(counts))
    assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
    assert estimate.high - estimate.low >= independent.high - independent.low - 1e-9


def test_share_by_cluster_covers_the_truth():
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        counts = rng.integers(1, 9, size=40)
        successes = rng.binomial(counts, rng.beta(3, 2, size=40))
        estimate = share_by_cluster(successes, counts)
        covered += estimate.low <= 0.6 <= estimate.high
    assert 0.92 <= covered / 400 <= 0.98


def test_no_plays_give_nothing():
    for estimate in (
        wilson(0, 0),
        bootstrap_mean([]),
        share_by_cluster([], []),
        success_rate([np.nan]),
        mean_of_independent([]),
    ):
        assert estimate.n == 0
        assert math.isnan(estimate.mean)


def test_bootstrap_of_independent_games_has_the_standard_error():
    values = np.random.default_rng(1).normal(2.0, 3.0, size=400)
    estimate = bootstrap_mean(values)
    half = Z * values.std() / math.sqrt(len(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.high - estimate.mean == pytest.approx(half, rel=0.05)
    assert estimate.mean - estimate.low == pytest.approx(half, rel=0.05)


def test_bootstrap_is_deterministic_and_its_seed_matters():
    values = np.arange(30.0)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_bootstrap_is_over_the_games_of_one_run():
    nan = np.nan
    assert bootstrap_mean([[1.0, 0.0, nan]]) == bootstrap_mean([1.0, 0.0])
    assert bootstrap_mean([1.0, 0.0]).over == OVER_GAMES == "games of this run"
    with pytest.raises(ValueError, match="one run"):
        bootstrap_mean([[1.0, 0.0], [1.0, 1.0]])


def test_success_over_runs_by_hand():
    """Run means .25 and .75: Student's t with 1 degree of freedom is 12.706 at 97.5%."""
    values = np.array([[1.0, 0, 0, 0], [1, 1, 1, 0]])
    estimate = success_rate(values)
    half = float(half_width([values]))
    assert half >= 12.706 * 0.25
    worth = 0.25 / half**2
    reach = math.sqrt(worth / 4 + 0.25) / (worth + 1)
    assert estimate.mean == 0.5
    assert (estimate.low, estimate.high) == pytest.approx((0.5 - reach, 0.5 + reach))
    assert (estimate.n, estimate.num_runs, estimate.over) == (4, 2, OVER_RUNS)


def test_runs_that_differ_widen_the_interval_and_more_runs_narrow_it():
    rng = np.random.default_rng(2)
    apart = np.clip(rng.random((3, 200)) + np.array([[-0.3], [0.0], [0.3]]), 0, 1)
    alike = np.clip(rng.random((3, 200)), 0, 1)
    widths = [e.high - e.low for e in map(success_rate, (apart, alike, np.tile(apart, (4, 1))))]
    assert widths[0] > 3 * widths[1]
    assert widths[2] < widths[0] / 2


def test_runs_that_agree_game_by_game_are_one_sample_of_games():
    games = np.random.default_rng(2).integers(0, 2, size=400).astype(float)
    one, four = wilson(round(games.sum()), 400), success_rate(np.tile(games, (4, 1)))
    assert four.n == 400
    assert (four.low, four.high) == pytest.approx((one.low, one.high), abs=0.001)


def test_missing_plays_weigh_nothing():
    nan = np.nan
    estimate = success_rate([[1.0, 0.0, nan, nan, 1.0], [1.0, nan, 0.0, nan, 0.0]])
    assert estimate.mean == 0.5
    assert estimate.n == 4
    # A run without any play is none.
    values = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    padded = np.vstack([values, [nan] * 3])
    assert success_rate(padded) == success_rate(values)
    assert success_rate(padded[1:]) == wilson(1, 3)
    assert paired_difference(padded, padded[[1, 0, 2]]).num_runs == 2


@pytest.mark.parametrize(("share", "expected"), [(0.0, (0, 20)), (1.0, (20, 20))])
def test_success_rate_of_equal_games_is_not_certain(share: float, expected: tuple[int, int]):
    assert success_rate(np.full(20, share), num_seeds=2) == wilson(*expected)
    over_runs = success_rate(np.full((3, 20), share), num_seeds=2)
    assert over_runs == replace(wilson(*expected), num_runs=3)


def test_success_of_equal_halves_is_not_certain():
    over_runs = success_rate(np.full((3, 20), 0.5), num_seeds=2)
    assert over_runs == replace(wilson(10, 20), num_runs=3)


def test_success_rate_chooses_by_what_was_averaged():
    single = np.array([1.0, 0, 1, 1, 0, 0, 1, 0, 1, 1])
    assert success_rate(single) == wilson(6, 10)
    assert success_rate(single, num_seeds=2) == bootstrap_mean(single)


def test_bootstrap_covers_the_truth():
    """95% intervals of rates with very different games and 3 seeds cover about 95 times in 100."""
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(300):
        difficulty = rng.beta(0.6, 0.4, size=80)
        means = rng.binomial(3, difficulty) / 3
        estimate = bootstrap_mean(means, num_resamples=1000, seed=trial)
        hits += estimate.low <= 0.6 <= estimate.high
    assert 0.91 <= hits / 300 <= 0.98


def test_mean_of_independent_adds_in_squares():
    parts = [Estimate(0.5, 0.4, 0.7, 10), Estimate(0.9, 0.6, 1.0, 30)]
    mean = mean_of_independent(parts)
    assert mean.mean == pytest.approx(0.7)
    assert mean.low == pytest.approx(0.7 - math.hypot(0.1, 0.3) / 2)
    assert mean.high == pytest.approx(0.7 + math.hypot(0.2, 0.1) / 2)
    assert mean.n == 40


def test_strata_weigh_the_same():
    strata = [np.ones((2, 300)), np.zeros((2, 10))]
    strata[0][0, 0] = 0
    estimate = success_over_runs(strata)
    assert estimate.mean == pytest.approx((599 / 600) / 2)
    assert (estimate.n, estimate.num_runs) == (310, 2)
    difference = difference_over_runs(strata)
    assert difference.mean == pytest.approx(estimate.mean)
    half = float(half_width(strata))
    assert (difference.low, difference.high) == pytest.approx(
        (difference.mean - half, difference.mean + half)
    )
    assert difference.num_runs == 2


def test_a_run_counts_where_it_has_plays_on_every_level():
    """Of three runs the last has no play on the second level, and the middle one none at all."""
    nan = np.nan
    one = np.array([[1.0, 0.0, 1.0, 1.0], [nan] * 4, [0.0] * 4])
    two = np.array([[0.0, 0.0, 1.0], [nan] * 3, [nan] * 3])
    alone = mean_of_independent([success_rate(each[0], num_seeds=2) for each in (one, two)])
    assert success_over_runs([one, two]) == alone
    difference = difference_over_runs([one, two])
    assert difference.over == OVER_GAMES
    assert difference.mean == pytest.approx((0.75 + 1 / 3) / 2)
    nothing = np.full((3, 3), nan)
    assert success_over_runs([one, nothing]) == NOTHING
    assert difference_over_runs([one, nothing]) == NOTHING


def test_pairing_removes_what_games_have_in_common():
    rng = np.random.default_rng(3)
    difficulty = rng.normal(0, 10, 200)
    before = difficulty + rng.normal(0, 0.1, 200)
    after = difficulty + 1 + rng.normal(0, 0.1, 200)
    difference = paired_difference(before, after)
    assert difference.mean == pytest.approx(1, abs=0.05)
    assert difference.excludes_zero
    assert difference.high - difference.low < 0.1


def test_paired_difference_by_hand():
    difference = paired_difference([[1, 0, 0, np.nan]], [[1, 1, 0, 1]])
    assert difference.mean == pytest.approx(1 / 3)
    assert difference.n == 3
    assert not difference.excludes_zero
    with pytest.raises(ValueError, match="differ in shape"):
        paired_difference([1, 0], [1])


@pytest.mark.parametrize(
    ("before", "after", "low", "high"),
    [(0, 0, -1, 1), (1, 1, -1, 1), (0, 1, 0, 1), (1, 0, -1, 0)],
)
def test_equal_differences_are_not_certain(before: int, after: int, low: int, high: int):
    """20 games, no exception seen: Wilson lets up to 16.1% of games be exceptions."""
    most = wilson(0, 20).high
    assert most == pytest.approx(0.161125, abs=1e-6)
    for shape in (20, (2, 20)):
        difference = paired_difference(np.full(shape, before), np.full(shape, after))
        assert difference.mean == after - before
        assert difference.low == pytest.approx(max(low, after - before - most))
        assert difference.high == pytest.approx(min(high, after - before + most))
        assert difference.num_runs == (1 if shape == 20 else 2)


def test_differences_over_runs_stay_in_bounds():
    difference = paired_difference([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]], np.ones((2, 3)))
    assert (difference.low, difference.high) == (-1.0, 1.0)
    assert not difference.excludes_zero


def test_runs_that_win_elsewhere_are_not_certain():
    """Either run wins one game more, each another one: the means agree, and prove nothing."""
    after = np.zeros((2, 31))
    after[0, 3] = after[1, 5] = 1
    difference = paired_difference(np.zeros((2, 31)), after)
    assert difference.mean == pytest.approx(1 / 31)
    assert difference.low < 0 < difference.high


def test_unpaired_difference_by_hand():
    """Seeds that differ: Welch's half-width, over the games that both sides played."""
    rng = np.random.default_rng(7)
    before, after = rng.random((2, 30)), rng.random((4, 30)) / 2
    after[:, 4] = np.nan
    before[0, 6] = np.nan
    difference = unpaired_difference([before], [after])
    played = np.delete(np.arange(30), 4)
    assert difference.mean == pytest.approx(after[:, played].mean() - np.nanmean(before[:, played]))
    assert (difference.n, difference.num_runs) == (29, 2)
    assert difference.low < difference.mean < difference.high
    full = rng.random((2, 30)), rng.random((3, 30))
    half = float(half_width_unpaired([full[0]], [full[1]]))
    found = unpaired_difference([full[0]], [full[1]])
    assert found.high - found.mean == pytest.approx(min(half, 1 - found.mean))
    assert unpaired_difference([before[:1]], [after]) == NOTHING
    assert unpaired_difference([np.full((2, 3), np.nan)], [np.ones((2, 3))]) == NOTHING


def test_mcnemar_by_hand():
    """7 games won by the second alone, 1 by the first alone: 2 · (C(8,0) + C(8,1)) / 2^8."""
    first = [True] * 5 + [True] + [False] * 7 + [False] * 4
    second = [True] * 5 + [False] + [True] * 7 + [False] * 4
    test = mcnemar(first, second)
    assert (test.only_first, test.only_second) == (1, 7)
    assert test.p_value == pytest.approx(2 * 9 / 256)
    assert mcnemar([True, False], [True, False]).p_value == 1.0


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.5, False), (-0.5, 0.0, False), (0.1, 0.5, True), (-0.5, -0.1, True), (-1, 1, False)],
)
def test_an_interval_that_touches_zero_does_not_exclude_it(low, high, expected: bool):
    assert Estimate(0.2, low, high, 9).excludes_zero is expected


def test_an_estimate_is_of_one_run_unless_it_says_so():
    assert Estimate(0.2, 0.1, 0.3, 9).over == "games of this run"
    assert Estimate(0.2, 0.1, 0.3, 9, 2).over == "runs and games"
    assert Estimate(0.2, 0.1, 0.3, 9, 5).over == "runs and games"
    assert (NOTHING.n, NOTHING.num_runs) == (0, 1)
    assert all(math.isnan(value) for value in (NOTHING.mean, NOTHING.low, NOTHING.high))


def test_one_trial_and_one_cluster_by_hand():
    one = wilson(1, 1)
    assert (one.mean, one.high, one.n) == (1.0, pytest.approx(1.0), 1)
    assert one.low == pytest.approx(1 / (1 + Z**2))
    # A cluster alone says nothing of how clusters differ: it counts as one trial.
    alone = share_by_cluster([3], [6])
    half = Z / (1 + Z**2) * math.sqrt(0.25 + Z**2 / 4)
    assert (alone.mean, alone.n) == (0.5, 6)
    assert (alone.low, alone.high) == pytest.approx((0.5 - half, 0.5 + half))
    two = share_by_cluster([1, 2], [2, 2])
    worth = 0.75 * 0.25 / (2 / 1 * (2 * 0.25) / 16)
    centre = (0.75 + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z / (1 + Z**2 / worth) * math.sqrt(0.1875 / worth + Z**2 / (4 * worth**2))
    assert (two.low, two.high) == pytest.approx((centre - half, centre + half))


def test_clusters_that_vary_less_than_chance_are_worth_no_more_than_their_trials():
    estimate = share_by_cluster([2] * 10, [4] * 10)
    assert (estimate.low, estimate.high) == pytest.approx(wilson_by_hand(20, 40))
    nearly = share_by_cluster([2] * 9 + [3], [4] * 10)
    assert (nearly.low, nearly.high) == pytest.approx(wilson_by_hand(21, 40))


def test_bootstrap_by_its_own_draws():
    """Ends are quantiles of means over games drawn with replacement by the seed's generator."""
    values = np.random.default_rng(9).random(7)
    games = np.random.default_rng(0).integers(0, 7, size=(10_000, 7))
    low, high = np.quantile(values[games].mean(axis=1), [0.025, 0.975])
    estimate = bootstrap_mean(values)
    assert estimate.mean == pytest.approx(values.mean())
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert (estimate.n, estimate.num_runs) == (7, 1)
    games = np.random.default_rng(4).integers(0, 7, size=(50, 7))
    low, high = np.quantile(values[games].mean(axis=1), [0.1, 0.9])
    other = bootstrap_mean(values, num_resamples=50, seed=4, confidence=0.8)
    assert (other.low, other.high) == pytest.approx((low, high))
    difference = paired_difference(np.zeros(7), values, num_resamples=50, seed=4, confidence=0.8)
    assert difference == other
    assert success_rate(values, num_seeds=2, seed=4) == bootstrap_mean(values, seed=4)
    assert paired_difference(np.zeros(7), values) == estimate
    assert bootstrap_mean([0.25]) == Estimate(0.25, 0.25, 0.25, 1)


def test_what_has_another_shape_is_refused():
    message = r"expected \[games\] or \[runs, games\], got shape \(2, 2, 2\)"
    with pytest.raises(ValueError, match=message):
        success_rate(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="differ in shape"):
        mcnemar([True], [True, False])
    assert success_rate(1.0).n == 1


def test_a_bound_on_games_that_differ_goes_by_the_confidence_asked_for():
    wide, narrow = (
        paired_difference(np.zeros(20), np.zeros(20), confidence=confidence)
        for confidence in (0.99, 0.8)
    )
    assert wide.high == pytest.approx(wilson(0, 20, 0.99).high)
    assert narrow.low == pytest.approx(-wilson(0, 20, 0.8).high)
    # Equal differences that are no whole numbers have no such bound.
    half = paired_difference(np.zeros(20), np.full(20, 0.5))
    assert (half.low, half.high) == (0.5, 0.5)


def test_independent_parts_of_which_one_is_empty_give_nothing():
    part = Estimate(0.5, 0.4, 0.7, 10)
    assert mean_of_independent([part, NOTHING]) == NOTHING
    assert mean_of_independent([part]) == Estimate(0.5, pytest.approx(0.4), pytest.approx(0.7), 10)


def test_success_over_runs_of_levels_by_hand():
    """Two levels of three runs: the mean of the levels' means, with Wilson's ends for the half."""
    rng = np.random.default_rng(12)
    strata = [rng.random((3, 12)), rng.random((3, 5)) / 3]
    estimate = success_over_runs(strata)
    mean = (strata[0].mean() + strata[1].mean()) / 2
    half = float(half_width(strata))
    worth = mean * (1 - mean) / half**2
    middle, reach = (
        (mean * worth + 0.5) / (worth + 1),
        math.sqrt(worth * mean * (1 - mean) + 0.25) / (worth + 1),
    )
    assert estimate.mean == pytest.approx(mean)
    assert (estimate.low, estimate.high) == pytest.approx((middle - reach, middle + reach))
    assert (estimate.n, estimate.num_runs) == (17, 3)

"""Half-widths over runs and games against hand-computed numbers, limits, and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_ind

from declutch.evaluation.variance import (
    fill_gaps,
    half_width,
    half_width_unpaired,
    play_variance,
    share_ends,
)

Z = 1.959963984540054


def test_half_width_by_hand():
    """Two runs of three games, [1 0 1] and [0 0 1].

    Run means 2/3 and 1/3, game means 1/2, 0, 1, grand mean 1/2; residuals 1/3, -1/6, -1/6 in the
    first row and their opposites in the second: squares sum to 1/3, over 2 degrees of freedom.
    """
    values = np.array([[1.0, 0, 1], [0, 0, 1]])
    noise = (1 / 3) / 2
    assert play_variance(values) == pytest.approx(noise / 6)
    runs = (1 / 18) / 2
    games = (1 / 4) / 3 - noise / 6
    expected = t.ppf(0.975, 1) ** 2 * runs + t.ppf(0.975, 2) ** 2 * games
    assert half_width([values]) == pytest.approx(math.sqrt(expected))


def test_levels_add_up():
    """The mean over levels: run means are averaged first, the parts of games add up over S²."""
    rng = np.random.default_rng(0)
    strata = [rng.random((3, 20)), rng.random((3, 7)) + 2]
    run_means = (strata[0].mean(axis=1) + strata[1].mean(axis=1)) / 2
    expected = t.ppf(0.975, 2) ** 2 * run_means.var(ddof=1) / 3
    for stratum, freedom in zip(strata, (19, 6), strict=True):
        games = stratum.mean(axis=0).var(ddof=1) / stratum.shape[1] - play_variance(stratum)
        expected += t.ppf(0.975, freedom) ** 2 * max(0.0, games) / 4
    assert half_width(strata) == pytest.approx(math.sqrt(expected))


def test_without_games_that_differ_it_is_students_t():
    """Games whose means agree leave the interval of run means alone."""
    values = np.array([[0.2, 0.4], [0.7, 0.5], [0.8, 0.8]])
    assert values.mean(axis=0) == pytest.approx([17 / 30, 17 / 30])
    means = values.mean(axis=1)
    assert half_width([values]) == pytest.approx(t.ppf(0.975, 2) * means.std(ddof=1) / 3**0.5)


def test_unpaired_without_games_that_differ_it_is_welchs_test():
    first = np.array([[0.2, 0.4], [0.7, 0.5]])
    second = np.array([[0.1, 0.3], [0.4, 0.2], [0.9, 0.9], [0.5, 0.5]])
    test = ttest_ind(second.mean(axis=1), first.mean(axis=1), equal_var=False)
    interval = test.confidence_interval(0.95)
    half = (interval.high - interval.low) / 2
    assert half_width_unpaired([first], [second]) == pytest.approx(half)


def test_unpaired_games_count_once_by_their_difference():
    """Runs that agree exactly, on games of any ease: what is left is the games' difference."""
    first = np.tile([0.0, 1.0, 0.5, 0.2], (2, 1))
    second = np.tile([0.1, 1.0, 0.9, 0.2], (3, 1))
    difference = second[0] - first[0]
    expected = t.ppf(0.975, 3) * difference.std(ddof=1) / 2
    assert half_width_unpaired([first], [second]) == pytest.approx(expected)


def test_equal_run_means_leave_the_chance_of_the_plays():
    values = np.zeros((2, 40))
    values[0, :10] = values[1, 10:20] = 1
    games = max(0.0, values.mean(axis=0).var(ddof=1) / 40 - play_variance(values))
    expected = math.sqrt(Z**2 * play_variance(values) + t.ppf(0.975, 39) ** 2 * games)
    assert half_width([values]) == pytest.approx(expected)
    assert expected > 0
    two = half_width([values, values])
    assert two == pytest.approx(expected / math.sqrt(2))
    unpaired = half_width_unpaired([values], [values])
    assert unpaired == pytest.approx(Z * math.sqrt(2 * play_variance(values)))


def test_one_game_says_nothing_of_others():
    assert half_width([np.array([[0.0], [1.0]])]) == math.inf
    assert half_width_unpaired([np.ones((2, 1))], [np.ones((2, 1))]) == math.inf
    low, high = share_ends(np.array(0.5), np.array(math.inf))
    assert (low, high) == (0, 1)


def test_many_evaluations_at_once_are_those_one_by_one():
    rng = np.random.default_rng(3)
    first = [rng.random((5, 3, 8)), rng.random((5, 3, 4))]
    second = [rng.random((5, 2, 8)), rng.random((5, 2, 4))]
    together = half_width(first), half_width_unpaired(first, second)
    for index in range(5):
        one, two = [each[index] for each in first], [each[index] for each in second]
        assert together[0][index] == pytest.approx(half_width(one))
        assert together[1][index] == pytest.approx(half_width_unpaired(one, two))


def test_share_ends_are_wilsons_for_a_binomial_half_width():
    share, n = 0.3, 40
    low, high = share_ends(np.array(share), np.array(Z * math.sqrt(share * (1 - share) / n)))
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    assert (low, high) == pytest.approx((centre - half, centre + half))


def test_gaps_are_filled_with_what_run_and_game_add_up_to():
    runs, games = np.array([0.1, 0.3, 0.9]), np.array([0.0, 0.5, 0.2, 0.7])
    whole = runs[:, None] + games
    gappy = whole.copy()
    gappy[0, 1] = gappy[2, 3] = gappy[1, 1] = np.nan
    assert fill_gaps(gappy) == pytest.approx(whole, abs=1e-9)
    assert fill_gaps(whole) is not gappy
    assert np.array_equal(fill_gaps(whole), whole)
    assert np.isnan(gappy[0, 1])


def test_the_fewest_plays_have_one_degree_of_freedom():
    """Two runs of two games, [1 0] and [0 0]: residuals are ±1/4, their squares sum to 1/4."""
    assert play_variance(np.array([[1.0, 0.0], [0.0, 0.0]])) == pytest.approx(1 / 4 / 1 / 4)
    assert play_variance(np.array([[1.0], [0.0]])) == 0

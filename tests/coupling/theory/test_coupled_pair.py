"""The coupled pair against its formulas: pulls, threshold, bounds, and the turn of a path."""

import numpy as np
import pytest

from declutch.coupling.theory.coupled_pair import (
    follow_pairs,
    make_pair,
    odds_ratio,
    paper_bound,
    sharp_bound,
    threshold,
)


def test_pulls_by_hand():
    pair = make_pair([0.6], [0.3], [0.05], [5.0], [0.5])
    # A1 = 5 * 0.05 * 0.24 = 0.06, A2 = -0.05 * 0.21 = -0.0105.
    assert pair.pulls[0][0] == pytest.approx(0.06 - 0.5 * 0.0105)
    assert pair.pulls[1][0] == pytest.approx(-0.0105 + 0.5 * 0.06)


def test_at_the_threshold_the_flawed_action_stands_still():
    strength, q2 = 2.5, 0.3
    q1 = threshold(q2, strength)
    pair = make_pair(q1, q2, 0.05, 5.0, 0.5)
    assert pair.pulls[1] == pytest.approx(0, abs=1e-15)
    assert odds_ratio(q1, q2) == pytest.approx(strength)
    assert threshold(0.5, 0.9) == 0.5


def test_both_ways_of_stepping_turn_at_the_same_place():
    pair = make_pair([0.3], [0.2], [0.05], [5.0], [0.5])
    slow = follow_pairs(pair, 0.5, 3000)
    fast = follow_pairs(pair, 1.0, 600, max_move=0.01)
    ends = [(path.q1[path.turn[0], 0], path.q2[path.turn[0], 0]) for path in (slow, fast)]
    np.testing.assert_allclose(ends[0], ends[1], atol=2e-3)
    assert ends[0][0] == pytest.approx(float(threshold(ends[0][1], 2.5)), abs=2e-3)


def test_the_sharper_bound_is_needed_and_the_printed_factor_is_not():
    pair = make_pair([0.85], [0.6], [0.05], [20.0], [0.8])
    path = follow_pairs(pair, 1.0, 1500, max_move=0.01)
    turn = path.turn[0]
    odds = path.q1[turn, 0] / (1 - path.q1[turn, 0])
    rise = np.log(odds) - pair.logits[0][0]
    start = pair.logits[1][0] - pair.logits[0][0]
    assert paper_bound(16.0) + start < sharp_bound(16.0) + start < rise < 0.5 * 16 + start


def test_a_certain_action_has_no_logit():
    with pytest.raises(ValueError, match="q1"):
        make_pair([1.0], [0.3], [0.05], [5.0], [0.5])

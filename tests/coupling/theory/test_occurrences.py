"""Sums over a flawed action's occurrences against simulation and against sums by hand."""

import numpy as np
import pytest

from declutch.coupling.theory.advantage import Estimator
from declutch.coupling.theory.check_occurrences import simulate
from declutch.coupling.theory.occurrences import (
    additive_risk,
    compounding_risk,
    total_advantage,
    total_advantage_by_steps,
    two_lengths,
    two_lengths_in_groups,
    wasted_steps,
)


def test_additive_risk_is_the_lemma_per_step():
    case = additive_risk(0.3, 0.1, 0.08, 6)
    assert total_advantage(case) / 6 == pytest.approx(-0.3 * 0.7 * 0.08, abs=1e-15)
    assert case.failure == pytest.approx(0.1 + 6 * 0.3 * 0.08)
    with pytest.raises(ValueError, match="no failure rate"):
        additive_risk(0.3, 0.5, 0.1, 6)


def test_compounding_risk_by_its_formula():
    case = compounding_risk(0.3, 0.1, 0.08, 6)
    factor = 0.9 * (1 - 0.3 * 0.08) ** 5
    assert total_advantage(case) / 6 == pytest.approx(-0.3 * 0.7 * 0.08 * factor, abs=1e-15)


def test_wasted_steps_by_hand():
    # One step is needed within two: won at once, won after one wasted step, or lost.
    case = wasted_steps(0.25, 1, 2)
    np.testing.assert_allclose(case.chance, [0.75, 0.1875, 0.0625])
    assert case.count.tolist() == [0, 1, 2]
    assert case.length.tolist() == [1, 2, 2]
    assert wasted_steps(0.4, 5, 12).chance.sum() == pytest.approx(1, abs=1e-12)


def test_two_lengths_by_hand():
    case = two_lengths((2, 10), (3, 30), 0.5)
    # 0.5 * 2 * 0.5 - 0.5 * 3 * 0.5, and with the steps' mean 10 / 40 for the episodes' 1 / 2.
    assert total_advantage(case) == pytest.approx(-0.25)
    assert total_advantage_by_steps(case) == pytest.approx(0.5 * 2 * 0.75 - 0.5 * 3 * 0.25)
    # The mean of two episodes, own one included: half of all groups have no variance.
    assert two_lengths_in_groups(case, 2, by_steps=False) == pytest.approx(-0.125)


@pytest.mark.parametrize("by_steps", [False, True])
def test_finite_groups_are_what_simulated_ones_come_to(by_steps):
    case = two_lengths((2, 10), (3, 30), 0.4)
    mean, error = simulate(case, Estimator(4), 3000, 0, by_steps=by_steps)
    assert abs(mean - two_lengths_in_groups(case, 4, by_steps=by_steps)) < 4 * error

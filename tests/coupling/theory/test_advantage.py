"""Expected advantages against brute force over all groups, and against numbers by hand."""

import numpy as np
import pytest

from declutch.coupling.theory.advantage import (
    Estimator,
    conditional_advantages,
    enumerate_groups,
    gain,
    group_advantages,
    joint_advantages,
    peak,
    risky_action,
)

ESTIMATORS = [
    Estimator(2),
    Estimator(4),
    Estimator(3, std_norm=True),
    Estimator(4, std_norm=True),
    Estimator(4, is_leave_one_out=True),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_the_formula_is_what_enumerating_every_group_gives(estimator):
    policy, failure = [0.2, 0.5, 0.3], [0.9, 0.4, 0.1]
    exact = enumerate_groups(policy, failure, estimator)
    np.testing.assert_allclose(
        joint_advantages(policy, failure, estimator), exact, rtol=0, atol=1e-12
    )


def test_a_risky_action_by_hand():
    # q r (q - 1) at q = 0.3, r = 0.4; with the deviation it is divided by sqrt(0.32 * 0.68).
    assert risky_action(0.3, 0.2, 0.4) == pytest.approx(-0.084, abs=1e-15)
    assert risky_action(0.3, 0.2, 0.4, Estimator(8)) == pytest.approx(-0.084 * 7 / 8, abs=1e-15)
    deviation = risky_action(0.3, 0.2, 0.4, Estimator(None, std_norm=True))
    assert deviation == pytest.approx(-0.084 / np.sqrt(0.32 * 0.68), abs=1e-15)
    conditional = conditional_advantages([0.3, 0.7], [0.6, 0.2])
    np.testing.assert_allclose(conditional, [-0.28, 0.12], atol=1e-15)


def test_advantages_of_a_pair_by_hand():
    success, lost = group_advantages(Estimator(2, std_norm=True))
    # One won and one lost: the deviation is 1 / sqrt(2), so +-0.5 becomes +-1 / sqrt(2).
    np.testing.assert_allclose(success, [0.5 / (np.sqrt(0.5) + 1e-6), 0], atol=1e-15)
    np.testing.assert_allclose(lost, [0, -0.5 / (np.sqrt(0.5) + 1e-6)], atol=1e-15)


def test_the_gain_of_large_groups_comes_to_that_of_the_policy():
    rates = np.array([0.1, 0.32, 0.5])
    large = gain(rates, Estimator(2000, std_norm=True))
    np.testing.assert_allclose(large, 1 / np.sqrt(rates * (1 - rates)), rtol=5e-3)
    powers, library = (gain(rates, Estimator(size, std_norm=True)) for size in (60, 64))
    np.testing.assert_allclose(powers, library, rtol=5e-3)


def test_the_deviation_moves_the_peak():
    estimator = Estimator(None, std_norm=True)
    assert peak(0.2, 0.4) == pytest.approx(0.5, abs=1e-4)
    assert peak(0.0, 0.001, estimator) == pytest.approx(1 / 3, abs=1e-3)
    assert peak(0.999, 0.001, estimator) == pytest.approx(2 / 3, abs=1e-3)


def test_what_has_no_expected_advantage_is_refused():
    with pytest.raises(ValueError, match="group of 1"):
        Estimator(1)
    with pytest.raises(ValueError, match="no standard deviation"):
        Estimator(4, std_norm=True, is_leave_one_out=True)

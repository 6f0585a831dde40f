"""Simulated groups are credited as training credits them, and their errors are standard errors."""

import numpy as np
import pytest

from declutch.coupling.theory.advantage import Estimator, group_advantages, risky_action
from declutch.coupling.theory.groups import (
    Groups,
    conditional_estimate,
    credited,
    draw_groups,
    joint_estimate,
    ratio_of,
    step_table,
)


@pytest.mark.parametrize(
    "estimator",
    [Estimator(4), Estimator(4, std_norm=True), Estimator(4, is_leave_one_out=True)],
    ids=str,
)
def test_credit_gives_what_the_enumeration_takes(estimator):
    reward = np.array([[1.0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    found = credited(Groups(np.zeros((4, 4), dtype=np.int64), reward), estimator)
    success, lost = group_advantages(estimator)
    others = (reward.sum(1, keepdims=True) - reward).astype(int)
    np.testing.assert_allclose(
        found, np.where(reward == 1, success[others], lost[others]), atol=1e-6
    )


def test_simulated_means_lie_within_their_errors_of_exact_ones():
    estimator = Estimator(8, std_norm=True)
    draw = np.random.default_rng(0)
    drawn = draw_groups([0.3, 0.7], [0.6, 0.2], 8, 4000, draw)
    advantage = credited(drawn, estimator)
    exact = float(risky_action(0.3, 0.2, 0.4, estimator))
    joint, conditional = (
        each(drawn, advantage, 0) for each in (joint_estimate, conditional_estimate)
    )
    assert abs(joint.z(exact)) < 4
    assert abs(conditional.z(exact / 0.3)) < 4
    assert 0.001 < joint.error < 0.01


def test_the_error_of_a_ratio_by_hand():
    found = ratio_of(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    # Mean 2, the values deviate by 1: std sqrt(2), over sqrt(2).
    assert (found.mean, found.error) == (2.0, pytest.approx(1.0))


def test_episodes_have_their_lengths_and_earn_at_the_end():
    table = step_table(np.array([[1.0, 0.0]]), np.array([3, 2]))
    assert table.episode.tolist() == [0, 0, 0, 1, 1]
    assert table.position.tolist() == [0, 1, 2, 0, 1]
    assert table.reward.tolist() == [0, 0, 1, 0, 0]


def test_each_group_may_have_a_policy_of_its_own():
    policy = np.array([[1.0, 0.0], [0.0, 1.0]])
    drawn = draw_groups(policy, [1.0, 0.0], 5, 2, np.random.default_rng(0))
    assert drawn.action.tolist() == [[0] * 5, [1] * 5]
    assert drawn.reward.tolist() == [[0] * 5, [1] * 5]

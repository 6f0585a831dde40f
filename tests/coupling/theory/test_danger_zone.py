"""Fixed points and basins of the danger zone against their formulas and against long paths."""

import numpy as np
import pytest

from declutch.coupling.theory.advantage import Estimator
from declutch.coupling.theory.danger_zone import (
    Drift,
    boundary,
    constant_roots,
    fixed_points,
    follow_action,
    runs_away,
)


def test_a_constant_push_has_the_roots_of_its_parabola():
    lower, upper = fixed_points(Drift(0.05, 0.4))
    assert constant_roots(0.05, 0.4) == (pytest.approx(lower.q), pytest.approx(upper.q))
    assert (lower.is_stable, upper.is_stable) == (True, False)
    assert upper.q == pytest.approx((1 + np.sqrt(0.5)) / 2)


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        (Drift(0.11, 0.4), 0.0),
        (Drift(0.1, 0.4, kind="proportional"), 0.75),
        (Drift(0.1, 0.4, is_conditional=True), 0.75),
        (Drift(0.2, 0.4, kind="proportional"), 0.5),
        (Drift(0.1, 0.4, kind="logistic"), None),
        (Drift(0.5, 0.4, kind="logistic"), 0.0),
    ],
)
def test_the_boundary_of_each_push(drift, expected):
    found = boundary(drift)
    assert found == (expected if expected is None else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize(
    "drift",
    [
        Drift(0.05, 0.4, 0.2),
        Drift(0.05, 0.4, 0.2, estimator=Estimator(8, std_norm=True)),
        Drift(0.05, 0.4, 0.2, estimator=Estimator(None, std_norm=True)),
        Drift(0.2, 0.4, 0.2, kind="proportional"),
    ],
)
def test_an_action_runs_away_from_above_the_boundary_only(drift):
    edge = boundary(drift)
    assert runs_away(drift, [edge - 0.02, edge + 0.01]).tolist() == [False, True]


def test_short_and_long_steps_end_at_the_same_place():
    drift = Drift(0.05, 0.4)
    slow = follow_action(drift, 0.6, 4000, 1.0)[-1]
    fast = follow_action(drift, 0.6, 800, max_move=0.01)[-1]
    assert slow == pytest.approx(constant_roots(0.05, 0.4)[0], abs=1e-6)
    assert fast == pytest.approx(slow, abs=2e-3)


def test_many_drifts_at_once_are_each_alone():
    drifts = Drift(np.array([[0.05], [0.11]]), np.array([[0.4], [0.4]]))
    starts = [0.3, 0.9]
    together = runs_away(drifts, starts)
    alone = [runs_away(Drift(push, 0.4), starts) for push in (0.05, 0.11)]
    assert together.tolist() == np.stack(alone).tolist()


def test_what_has_no_failure_rate_is_refused():
    with pytest.raises(ValueError, match="at most 1"):
        Drift(0.1, 0.6, 0.5)

"""The checks on Lemma 3.1 of both papers: the value and the sign of a risky action's advantage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from declutch.coupling.theory.advantage import (
    POPULATION,
    Estimator,
    Floats,
    enumerate_groups,
    gain,
    require_risk,
    risky_action,
)
from declutch.coupling.theory.findings import (
    TOLERANCE,
    ClaimList,
    Finding,
    Place,
    RiskGrid,
    conclude,
    risk_grid,
)
from declutch.coupling.theory.groups import (
    NUM_GROUPS,
    Estimate,
    conditional_estimate,
    credited,
    draw_groups,
    joint_estimate,
)

LEMMA = (Place("GC-L3.1-value", "Lemma 3.1, eq. 1"), Place("RM-L3.1-value", "Lemma 3.1, eq. 1"))
SIGN = (
    Place("GC-L3.1-sign", "section 3.2, before Lemma 3.1"),
    Place("RM-L3.1-sign", "section 3.1, after Lemma 3.1"),
)
EXCEPTIONS = (Place("GC-B.1-exceptions", "B.1, end"), Place("RM-A.1-exceptions", "A.1, end"))
VALUE = "The expected advantage of an action with probability q and risk r is q r (q - 1)."
NEGATIVE = (
    "The expected advantage of a risky action (r > 0) that is not taken always (q < 1) is negative."
)
LARGE_GROUP = 512
"""Episodes in a simulated group that stands for infinitely many."""
claims = ClaimList()
"""The claims about the expected advantage that this module's checks are of."""

GRPO_8 = Estimator(8, std_norm=True)
CENTRED_8 = Estimator(8)
LEAVE_ONE_OUT_8 = Estimator(8, is_leave_one_out=True)


def simulated(
    q: float, p: float, r: float, estimator: Estimator, groups: int, seed: int
) -> tuple[Estimate, Estimate]:
    """Check by simulation: joint and conditional advantage of a risky action in real groups."""
    require_risk(p, r)
    draw = np.random.default_rng(seed)
    size = estimator.group_size or LARGE_GROUP
    drawn = draw_groups([q, 1 - q], [p + r, p], size, groups * 8 // size, draw)
    advantage = credited(drawn, Estimator(size, estimator.std_norm, estimator.is_leave_one_out))
    return joint_estimate(drawn, advantage, 0), conditional_estimate(drawn, advantage, 0)


def at_example(
    q: float, p: float, r: float, estimator: Estimator, estimate: Estimate, exact: float
) -> dict[str, float | int | None]:
    """Worked example in the checks of the advantage: printed, exact and simulated values."""
    return {
        "q": q,
        "p": p,
        "r": r,
        "group_size": estimator.group_size,
        "printed": q * r * (q - 1),
        "exact": exact,
        "simulated": estimate.mean,
        "simulated_error": estimate.error,
        "simulated_group_size": estimator.group_size or LARGE_GROUP,
    }


def _value_finding(
    exact: Callable[[RiskGrid], Floats], numbers: dict[str, float | int | None]
) -> Finding:
    grid = risk_grid()
    found, printed = exact(grid), grid.q * grid.r * (grid.q - 1)
    is_true = np.abs(found - printed) < TOLERANCE
    error = np.abs(found - printed)
    numbers |= {"grid_largest_difference": float(error.max())}
    columns = grid.columns | {"printed": printed, "exact": found}
    return conclude(is_true, numbers, columns, badness=error)


def _value_check(estimator: Estimator, *, is_conditional: bool = False) -> Callable[..., Finding]:
    def check(
        q: float = 0.3,
        p: float = 0.2,
        r: float = 0.4,
        groups: int = NUM_GROUPS,
        seed: int = 0,
    ) -> Finding:
        joint, conditional = simulated(q, p, r, estimator, groups, seed)
        value = float(risky_action(q, p, r, estimator))
        estimate = joint
        if is_conditional:
            value, estimate = value / q, conditional
        numbers = at_example(q, p, r, estimator, estimate, value)
        numbers["gain"] = float(gain(p + q * r, estimator))
        if estimator.group_size is not None and not is_conditional:
            small = Estimator(4, estimator.std_norm, estimator.is_leave_one_out)
            brute = enumerate_groups([q, 1 - q], [p + r, p], small)[0]
            numbers["enumerated_group_of_4"] = float(brute)
            numbers["formula_group_of_4"] = float(risky_action(q, p, r, small))

        def exact(grid: RiskGrid) -> Floats:
            with np.errstate(all="ignore"):
                found = risky_action(grid.q, grid.p, grid.r, estimator)
            return found / grid.q if is_conditional else found

        return _value_finding(exact, numbers)

    return check


for _name, _reading, _estimator, _conditional in (
    (
        "joint",
        "Joint expectation E[A 1{action}] over infinitely large groups, no deviation: what an "
        "episode contributes on average, taken or not.",
        POPULATION,
        False,
    ),
    (
        "conditional",
        "Conditional expectation E[A | action] over infinitely large groups, no deviation: the "
        "mean over the action's occurrences. It is r (q - 1).",
        POPULATION,
        True,
    ),
    (
        "group-mean",
        "Joint expectation in groups of 8 whose mean contains the episode itself, no deviation "
        "(Dr.GRPO). It is (G - 1) / G times the printed value.",
        CENTRED_8,
        False,
    ),
    (
        "leave-one-out",
        "Joint expectation in groups of 8 with the mean of the others (RLOO), any group size.",
        LEAVE_ONE_OUT_8,
        False,
    ),
    (
        "deviation",
        "Joint expectation over infinitely large groups, divided by the reward's deviation as the "
        "proofs define the advantage.",
        Estimator(None, std_norm=True),
        False,
    ),
    (
        "grpo",
        "Joint expectation in groups of 8 as GRPO trains: own mean, unbiased deviation + 1e-6, "
        "0 where all rewards are equal.",
        GRPO_8,
        False,
    ),
):
    claims.add(LEMMA, VALUE, _reading, _name)(_value_check(_estimator, is_conditional=_conditional))


def _sign_check(estimator: Estimator) -> Callable[..., Finding]:
    def check(
        q: float = 0.9,
        p: float = 0.05,
        r: float = 0.05,
        groups: int = NUM_GROUPS,
        seed: int = 1,
    ) -> Finding:
        grid = risk_grid()
        with np.errstate(all="ignore"):
            exact = risky_action(grid.q, grid.p, grid.r, estimator)
        is_true = exact < 0
        joint, _ = simulated(q, p, r, estimator, groups, seed)
        value = float(risky_action(q, p, r, estimator))
        numbers = at_example(q, p, r, estimator, joint, value)
        numbers["grid_smallest_gain"] = float(np.nanmin(gain(grid.p + grid.q * grid.r, estimator)))
        return conclude(is_true, numbers, grid.columns | {"exact": exact})

    return check


for _name, _reading, _estimator in (
    ("joint", "0 < q < 1, infinitely large groups, no deviation.", POPULATION),
    ("leave-one-out", "0 < q < 1, groups of 8, RLOO.", LEAVE_ONE_OUT_8),
    (
        "grpo",
        "0 < q < 1, groups of 8 as GRPO trains. The value is -q (1 - q) r times a gain that is "
        "positive for every failure rate in (0, 1), so the deviation cannot change the sign.",
        GRPO_8,
    ),
    ("pairs", "0 < q < 1, groups of 2 as GRPO trains, the smallest there are.", Estimator(2, True)),
):
    claims.add(SIGN, NEGATIVE, _reading, _name)(_sign_check(_estimator))


def _exception_grid(*, is_harmful: bool) -> RiskGrid:
    grid = risk_grid(is_harmful=is_harmful)
    at_zero = RiskGrid(np.zeros(grid.q.size), grid.p, grid.r)
    return RiskGrid(*(np.concatenate([getattr(grid, n), getattr(at_zero, n)]) for n in "qpr"))


@claims.add(
    EXCEPTIONS,
    "The expected advantage is negative unless q = 1 or r = 0.",
    "As listed, with q = 0 among the cases: an action that is never taken has the joint advantage "
    "0, too.",
    "harmful",
)
def check_harmful(q: float = 0.0, p: float = 0.2, r: float = 0.4) -> Finding:
    grid = _exception_grid(is_harmful=True)
    exact = risky_action(grid.q, grid.p, grid.r)
    is_true, meets = exact < 0, grid.q > 0
    numbers = {"q": q, "p": p, "r": r, "exact": float(risky_action(q, p, r))}
    return conclude(
        is_true, numbers, grid.columns | {"exact": exact}, meets=meets, condition="q > 0"
    )


@claims.add(
    EXCEPTIONS,
    "An action with r < 0 is encouraged unless its probability is already 1.",
    "Encouraged: its expected advantage, and with it the pull on its logit, is positive.",
    "helpful",
)
def check_helpful(q: float = 0.0, p: float = 0.5, r: float = -0.4) -> Finding:
    grid = _exception_grid(is_harmful=False)
    exact = risky_action(grid.q, grid.p, grid.r)
    is_true, meets = exact > 0, grid.q > 0
    numbers = {"q": q, "p": p, "r": r, "exact": float(risky_action(q, p, r))}
    return conclude(
        is_true, numbers, grid.columns | {"exact": exact}, meets=meets, condition="q > 0"
    )

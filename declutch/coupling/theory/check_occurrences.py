"""The checks on claims about a flawed action's occurrences in won and in lost episodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from declutch.coupling.theory.advantage import Estimator
from declutch.coupling.theory.findings import (
    TOLERANCE,
    ClaimList,
    Finding,
    Place,
    conclude,
    risk_grid,
)
from declutch.coupling.theory.groups import NUM_GROUPS, credit_steps, mean_of, step_table
from declutch.coupling.theory.occurrences import (
    Occurrences,
    additive_risk,
    compounding_risk,
    total_advantage,
    total_advantage_by_steps,
    two_lengths,
    two_lengths_in_groups,
    wasted_steps,
)

LEMMA = (Place("GC-L3.1-value", "Lemma 3.1, eq. 1"), Place("RM-L3.1-value", "Lemma 3.1, eq. 1"))
SIGN = (
    Place("GC-L3.1-sign", "section 3.2, before Lemma 3.1"),
    Place("RM-L3.1-sign", "section 3.1, after Lemma 3.1"),
)
ASSUMPTION = Place("RM-3.1-assumption", "section 3.1, on what the lemma assumes")
FREQUENCY = Place("RM-3.1-frequency", "section 3.1, on Figure 2")
VALUE = "The expected advantage of an action with probability q and risk r is q r (q - 1)."
NEGATIVE = (
    "The expected advantage of a risky action (r > 0) that is not taken always (q < 1) is negative."
)
MORE_OFTEN = (
    "A flawed action that is more frequent in lost episodes has a negative expected advantage, and "
    "one that is more frequent in won ones a positive one."
)
GROUP = 16
claims = ClaimList()
"""The claims about occurrences that this module's checks are of."""


def simulate(
    case: Occurrences,
    estimator: Estimator,
    groups: int,
    seed: int,
    *,
    by_steps: bool = False,
) -> tuple[float, float]:
    """Check by simulation: the mean sum of a case's occurrences' advantages, with its error."""
    draw = np.random.default_rng(seed)
    size = estimator.group_size or 8
    shape = (groups, size)
    index = draw.choice(len(case.chance), shape, p=case.chance / case.chance.sum())
    reward = (draw.random(shape) < case.success[index]).astype(np.float64)
    length = case.length[index].astype(np.int64)
    table = step_table(reward, length.ravel())
    advantage = credit_steps(table, estimator, by_steps=by_steps).numpy().astype(np.float64)
    # All steps of an episode have the same advantage, which stands at its first step.
    first = np.cumsum(length.ravel()) - length.ravel()
    sums = (advantage[first].reshape(shape) * case.count[index]).mean(1)
    estimate = mean_of(sums)
    return estimate.mean, estimate.error


@claims.add(
    LEMMA,
    VALUE,
    "Episodes of several steps, the action possible at each, every occurrence adding r to the "
    "failure rate: joint expectation per step in groups of 8, mean of the others (RLOO).",
    "several-steps",
)
def check_additive(
    q: float = 0.3,
    p: float = 0.1,
    r: float = 0.08,
    steps: int = 6,
    groups: int = NUM_GROUPS,
    seed: int = 3,
) -> Finding:
    rows = [
        (prob, base, risk, length)
        for length in (1, 2, 5, 10, 30)
        for prob in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
        for base in (0.0, 0.1, 0.3, 0.5)
        for risk in (0.001, 0.01, 0.03, 0.05, 0.1, 0.5)
        if base + length * risk <= 1
    ]
    q_, p_, r_, n_ = map(np.array, zip(*rows, strict=True))
    exact = np.array([total_advantage(additive_risk(*row)) / row[3] for row in rows])
    printed = q_ * r_ * (q_ - 1)
    is_true = np.abs(exact - printed) < TOLERANCE
    case = additive_risk(q, p, r, steps)
    mean, error = simulate(case, Estimator(8, is_leave_one_out=True), groups, seed)
    numbers = {
        "q": q,
        "p": p,
        "r": r,
        "steps": steps,
        "printed": q * r * (q - 1),
        "exact": total_advantage(case) / steps,
        "simulated": mean / steps,
        "simulated_error": error / steps,
    }
    columns = {"q": q_, "p": p_, "r": r_, "steps": n_, "printed": printed, "exact": exact}
    return conclude(is_true, numbers, columns)


@claims.add(
    LEMMA,
    VALUE,
    "Episodes of several steps where every occurrence is survived with probability 1 - r: joint "
    "expectation per step. It is the printed value times (1 - p)(1 - q r)^(T - 1).",
    "compounding",
)
def check_compounding(
    q: float = 0.3,
    p: float = 0.1,
    r: float = 0.08,
    steps: int = 6,
    groups: int = NUM_GROUPS,
    seed: int = 4,
) -> Finding:
    rows = [
        (prob, base, risk, length)
        for length in (1, 2, 5, 10, 30)
        for prob in (0.02, 0.3, 0.5, 0.9)
        for base in (0.0, 0.1, 0.5)
        for risk in (0.01, 0.1, 0.5)
    ]
    q_, p_, r_, n_ = map(np.array, zip(*rows, strict=True))
    exact = np.array([total_advantage(compounding_risk(*row)) / row[3] for row in rows])
    printed = q_ * r_ * (q_ - 1)
    factor = (1 - p_) * (1 - q_ * r_) ** (n_ - 1)
    is_true = np.abs(exact - printed) < TOLERANCE
    case = compounding_risk(q, p, r, steps)
    mean, error = simulate(case, Estimator(8, is_leave_one_out=True), groups, seed)
    numbers = {
        "q": q,
        "p": p,
        "r": r,
        "steps": steps,
        "printed": q * r * (q - 1),
        "exact": total_advantage(case) / steps,
        "factor": (1 - p) * (1 - q * r) ** (steps - 1),
        "simulated": mean / steps,
        "simulated_error": error / steps,
        "grid_error_of_factor": float(np.abs(exact - printed * factor).max()),
        "grid_largest_value": float(exact.max()),
    }
    columns = {"q": q_, "p": p_, "r": r_, "steps": n_, "printed": printed, "exact": exact}
    return conclude(is_true, numbers, columns, badness=np.abs(exact - printed))


@claims.add(
    SIGN,
    NEGATIVE,
    "An action whose only risk is the time it wastes: episodes end won after M other steps and "
    "lost after T steps in all. Sum over the occurrences in an episode, groups of 8 as GRPO "
    "trains.",
    "wasted-steps",
)
def check_wasted(
    q: float = 0.4,
    needed: int = 5,
    limit: int = 12,
    groups: int = NUM_GROUPS // 2,
    seed: int = 5,
) -> Finding:
    # Where all episodes are won or lost but for rounding, there is nothing to tell a sign of.
    rows = [
        (prob, must, most)
        for prob in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
        for must in (1, 3, 8)
        for most in (must + 1, must + 5, 30)
        if 1e-9 < wasted_steps(prob, must, most).failure < 1 - 1e-9
    ]
    estimator = Estimator(8, std_norm=True)
    exact = np.array([total_advantage(wasted_steps(*row), estimator) for row in rows])
    is_true = exact < 0
    case = wasted_steps(q, needed, limit)
    mean, error = simulate(case, estimator, groups, seed)
    numbers = {
        "q": q,
        "needed": needed,
        "limit": limit,
        "failure_rate": case.failure,
        "count_in_won": case.mean_in(case.count, is_won=True),
        "count_in_lost": case.mean_in(case.count, is_won=False),
        "exact": total_advantage(case, estimator),
        "simulated": mean,
        "simulated_error": error,
    }
    columns = {
        name: np.array(column)
        for name, column in zip(("q", "needed", "limit"), zip(*rows, strict=True), strict=True)
    }
    return conclude(is_true, numbers, columns | {"exact": exact})


@claims.add(
    ASSUMPTION,
    "Lemma 3.1 assumes that the risky action has the same probability in won and in lost episodes.",
    "P(action | won) = q(1-p-r) / (1-p-qr) and P(action | lost) = q(p+r) / (p+qr) in the lemma's "
    "own setting. They are equal only where the advantage is 0.",
    "bayes",
)
def check_assumption(q: float = 0.3, p: float = 0.2, r: float = 0.4) -> Finding:
    grid = risk_grid()

    def shares(q: np.ndarray, p: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fail = p + q * r
        return q * (1 - p - r) / (1 - fail), q * (p + r) / fail

    won, lost = shares(grid.q, grid.p, grid.r)
    is_true = np.abs(won - lost) < TOLERANCE
    in_won, in_lost = shares(np.array(q), np.array(p), np.array(r))
    fail = p + q * r
    numbers = {
        "q": q,
        "p": p,
        "r": r,
        "share_in_won": float(in_won),
        "share_in_lost": float(in_lost),
        "joint_advantage": q * r * (q - 1),
        "joint_from_shares": float(fail * (1 - fail) * (in_won - in_lost)),
    }
    columns = grid.columns | {"share_in_won": won, "share_in_lost": lost}
    return conclude(is_true, numbers, columns, badness=lost - won)


def _length_cases() -> list[tuple[tuple[int, int], tuple[int, int], float]]:
    return [
        ((in_won, won_steps), (in_lost, lost_steps), failure)
        for won_steps in (5, 10, 20)
        for lost_steps in (10, 30)
        for in_won in range(5)
        for in_lost in range(7)
        for failure in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]


def _excess(case: Occurrences, *, by_share: bool) -> float:
    """How much more frequent the action is in won episodes than in lost ones."""
    if by_share:
        return case.share_of_steps(is_won=True) - case.share_of_steps(is_won=False)
    return case.mean_in(case.count, is_won=True) - case.mean_in(case.count, is_won=False)


@claims.add(
    FREQUENCY,
    MORE_OFTEN,
    "Frequent: occurrences per episode. Statistics of a group over its episodes (the default).",
    "per-episode",
    by_share=False,
    by_steps=False,
)
@claims.add(
    FREQUENCY,
    MORE_OFTEN,
    "Frequent: share of all steps, as a share of repeated actions is usually reported. Statistics "
    "of a group over its episodes.",
    "per-step",
    by_share=True,
    by_steps=False,
)
@claims.add(
    FREQUENCY,
    MORE_OFTEN,
    "Frequent: share of all steps. Statistics of a group over its steps (group_stats=steps), as in "
    "code that takes a step for a sample.",
    "per-step-step-statistics",
    by_share=True,
    by_steps=True,
)
@claims.add(
    FREQUENCY,
    MORE_OFTEN,
    "Frequent: occurrences per episode. Statistics of a group over its steps (group_stats=steps).",
    "per-episode-step-statistics",
    by_share=False,
    by_steps=True,
)
def check_frequency(
    *,
    in_won: int = 2,
    steps_of_won: int = 10,
    in_lost: int = 3,
    steps_of_lost: int = 30,
    failure: float = 0.5,
    groups: int = 5000,
    seed: int = 6,
    by_share: bool,
    by_steps: bool,
) -> Finding:
    example = two_lengths((in_won, steps_of_won), (in_lost, steps_of_lost), failure)
    cases = _length_cases()
    found = [two_lengths(*case) for case in cases]
    total = total_advantage_by_steps if by_steps else total_advantage
    exact = np.array([total(case) for case in found])
    often = [_excess(case, by_share=by_share) for case in found]
    is_true = np.sign(np.round(exact, 12)) == np.sign(np.round(often, 12))
    mean, error = simulate(example, Estimator(GROUP), groups, seed, by_steps=by_steps)
    numbers = {
        "count_in_won": example.count[0],
        "steps_of_won": example.length[0],
        "count_in_lost": example.count[1],
        "steps_of_lost": example.length[1],
        "failure_rate": example.failure,
        "share_of_won_steps": example.share_of_steps(is_won=True),
        "share_of_lost_steps": example.share_of_steps(is_won=False),
        "exact": total(example),
        "exact_in_groups": two_lengths_in_groups(example, GROUP, by_steps=by_steps),
        "simulated": mean,
        "simulated_error": error,
        "simulated_group_size": GROUP,
    }
    columns: dict[str, ArrayLike] = {
        "count_in_won": [case[0][0] for case in cases],
        "steps_of_won": [case[0][1] for case in cases],
        "count_in_lost": [case[1][0] for case in cases],
        "steps_of_lost": [case[1][1] for case in cases],
        "failure_rate": [case[2] for case in cases],
        "exact": exact,
        "frequency_in_won_less_in_lost": often,
    }
    return conclude(
        is_true,
        {key: float(value) for key, value in numbers.items()},
        columns,
        badness=-exact * np.array(often),
    )

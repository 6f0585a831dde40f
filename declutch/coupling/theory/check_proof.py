"""The checks on the proof of Lemma 3.1: its table of outcomes, its rates, and its algebra."""

from __future__ import annotations

import numpy as np

from declutch.coupling.theory.advantage import (
    Estimator,
    group_advantages,
    require_risk,
    risky_action,
)
from declutch.coupling.theory.findings import (
    TOLERANCE,
    ClaimList,
    Finding,
    Place,
    conclude,
    risk_grid,
)
from declutch.coupling.theory.groups import NUM_GROUPS, draw_groups, mean_of

claims = ClaimList()
"""The claims of the proof of Lemma 3.1 that this module's checks are of."""


@claims.add(
    (Place("GC-B.1-table", "B.1, eq. 3"), Place("RM-A.1-table", "A.1, eq. 4")),
    "Mistake or not, success or not: the four outcomes have the probabilities (1-q)(1-p), (1-q)p, "
    "q(1-p-r) and q(p+r).",
    "Any p, q in [0, 1] and r in [-1, 1]: four numbers in [0, 1] that sum to 1. The papers do not "
    "restrict r.",
    "probabilities",
)
def check_table(q: float = 0.3, p: float = 0.2, r: float = 0.4) -> Finding:
    rates = np.linspace(0, 1, 21)
    grid_q, grid_p, grid_r = np.meshgrid(rates[1:], rates, np.linspace(-1, 1, 41), indexing="ij")

    def cells(q: np.ndarray, p: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.stack([(1 - q) * (1 - p), (1 - q) * p, q * (1 - p - r), q * (p + r)])

    found = cells(grid_q, grid_p, grid_r)
    is_true = ((found > -TOLERANCE) & (found < 1 + TOLERANCE)).all(0)
    is_true &= np.abs(found.sum(0) - 1) < TOLERANCE
    meets = (grid_p + grid_r > -TOLERANCE) & (grid_p + grid_r < 1 + TOLERANCE)
    example = cells(np.array(q), np.array(p), np.array(r))
    names = ("no_mistake_success", "no_mistake_fail", "mistake_success", "mistake_fail")
    numbers = {"q": q, "p": p, "r": r} | dict(zip(names, map(float, example), strict=True))
    columns = {"q": grid_q, "p": grid_p, "r": grid_r, "mistake_fail": found[3]}
    return conclude(is_true, numbers, columns, meets=meets, condition="0 <= p + r <= 1")


@claims.add(
    (Place("GC-B.1-rates", "B.1, eq. 4"), Place("RM-A.1-rates", "A.1, eq. 5")),
    "P(success) = 1 - p - q r and P(fail) = p + q r.",
    "Sums over the four outcomes, beside the success rate of simulated episodes.",
    "sums",
)
def check_rates(
    q: float = 0.3, p: float = 0.2, r: float = 0.4, groups: int = NUM_GROUPS, seed: int = 2
) -> Finding:
    require_risk(p, r)
    grid = risk_grid()
    success = (1 - grid.q) * (1 - grid.p) + grid.q * (1 - grid.p - grid.r)
    is_true = np.abs(success - (1 - grid.p - grid.q * grid.r)) < TOLERANCE
    drawn = draw_groups([q, 1 - q], [p + r, p], 8, groups, np.random.default_rng(seed))
    estimate = mean_of(drawn.reward.mean(1))
    numbers = {
        "q": q,
        "p": p,
        "r": r,
        "success": 1 - p - q * r,
        "fail": p + q * r,
        "simulated": estimate.mean,
        "simulated_error": estimate.error,
    }
    return conclude(is_true, numbers, grid.columns)


@claims.add(
    (Place("GC-B.1-centred", "B.1, eq. 5"), Place("RM-A.1-centred", "A.1, eq. 6")),
    "The advantage of a success is (p + q r) / std and that of a failure (p + q r - 1) / std.",
    "Infinitely large groups: mean and deviation are the policy's own.",
    "population",
)
def check_centred(q: float = 0.3, p: float = 0.2, r: float = 0.4) -> Finding:
    require_risk(p, r)
    grid = risk_grid()
    fail = grid.p + grid.q * grid.r
    mean, spread = 1 - fail, np.sqrt(fail * (1 - fail))
    with np.errstate(all="ignore"):
        gaps = [
            np.abs((reward - mean) / spread - printed / spread)
            for reward, printed in ((1, fail), (0, fail - 1))
        ]
    error = np.nan_to_num(np.maximum(*gaps))
    is_true = error < 1e-9
    failure = p + q * r
    std = float(np.sqrt(failure * (1 - failure)))
    numbers = {
        "q": q,
        "p": p,
        "r": r,
        "std": std,
        "success_advantage": failure / std,
        "failure_advantage": (failure - 1) / std,
    }
    return conclude(is_true, numbers, grid.columns)


@claims.add(
    (Place("GC-B.1-centred", "B.1, eq. 5"), Place("RM-A.1-centred", "A.1, eq. 6")),
    "The advantage of a success is (p + q r) / std and that of a failure (p + q r - 1) / std.",
    "Expected value over groups of 8 as GRPO trains. In a group the mean and the deviation are "
    "the group's own and depend on the episode itself.",
    "grpo",
)
def check_centred_groups(
    q: float = 0.3, p: float = 0.2, r: float = 0.4, group_size: int = 8
) -> Finding:
    from scipy.stats import binom

    require_risk(p, r)
    estimator = Estimator(group_size, std_norm=True)
    success, lost = group_advantages(estimator)

    def expected(fail: np.ndarray) -> np.ndarray:
        weight = binom.pmf(np.arange(group_size), group_size - 1, 1 - fail[..., None])
        return np.stack([(weight * success).sum(-1), (weight * lost).sum(-1)])

    fail = np.linspace(0.02, 0.98, 49)
    spread = np.sqrt(fail * (1 - fail))
    found, printed = expected(fail), np.stack([fail, fail - 1]) / spread
    error = np.abs(found - printed).max(0)
    is_true = error < 1e-9
    rate = np.array(p + q * r)
    example = expected(rate)
    std = float(np.sqrt(rate * (1 - rate)))
    numbers = {
        "q": q,
        "p": p,
        "r": r,
        "group_size": group_size,
        "success_printed": float(rate) / std,
        "success_exact": float(example[0]),
        "failure_printed": float(rate - 1) / std,
        "failure_exact": float(example[1]),
    }
    columns = {"failure_rate": fail, "printed": printed[0], "exact": found[0]}
    return conclude(is_true, numbers, columns, badness=error)


@claims.add(
    (Place("GC-B.1-algebra", "B.1, eq. 6"), Place("RM-A.1-algebra", "A.1, eq. 7")),
    "q(1-p-r)(p+qr) + q(p+r)(p+qr-1) = (q-pq-qr+pq+qr)(p+qr) - pq - qr = pq + q^2 r - pq - qr "
    "= q r (q - 1).",
    "Every step of the chain.",
    "chain",
)
def check_algebra(q: float = 0.3, p: float = 0.2, r: float = 0.4) -> Finding:
    grid = risk_grid()

    def chain(q: np.ndarray, p: np.ndarray, r: np.ndarray) -> np.ndarray:
        fail = p + q * r
        return np.stack(
            [
                q * (1 - p - r) * fail + q * (p + r) * (fail - 1),
                (q - p * q - q * r) * fail + (p * q + q * r) * (fail - 1),
                (q - p * q - q * r + p * q + q * r) * fail - p * q - q * r,
                p * q + q**2 * r - p * q - q * r,
                q * r * (q - 1),
                risky_action(q, p, r),
            ]
        )

    found = chain(grid.q, grid.p, grid.r)
    is_true = np.ptp(found, axis=0) < TOLERANCE
    example = chain(np.array(q), np.array(p), np.array(r))
    numbers = {"q": q, "p": p, "r": r, "first": float(example[0]), "last": float(example[-1])}
    return conclude(is_true, numbers, grid.columns)

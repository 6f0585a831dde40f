"""The checks on RM's coupled pair: what its text says of two samples that push each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from declutch.coupling.theory.advantage import Estimator, Floats
from declutch.coupling.theory.coupled_pair import (
    Pair,
    follow_pairs,
    make_pair,
    odds_ratio,
    threshold,
)
from declutch.coupling.theory.findings import (
    ClaimList,
    Finding,
    Place,
    conclude,
)
from declutch.coupling.theory.groups import credited, draw_groups

ORDER = Place("RM-3.3-order", "section 3.3, on effective advantages")
GAP = Place("RM-3.3-gap", "section 3.3, on the probability gap")
RISE = Place("RM-3.3-both-rise", "section 3.3, |A_1| >> |A_2|")
PULL = Place("RM-3.3-pull-vanishes", "section 3.3, on the long run")
TURN = Place("RM-3.3-turn", "section 3.3, on when p_2 decreases")
MANY = Place("RM-3.3-many", "section 3.3, on several positive samples")
GOAL = Place("RM-4-small-delta", "section 4, first paragraph")
SCALED = Place("RM-4-step-rewards", "section 4, first paragraph")
claims = ClaimList()
"""The claims about a coupled pair that this module's checks are of."""

PAIR_PROBABILITIES = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99])


def pair_grid(deltas: tuple[float, ...] = (0.1, 0.3, 0.5, 0.8, 0.95)) -> Pair:
    """Check's grid of coupled pairs: probabilities, xi from 0.25 to 20, coupling, valid risks."""
    axes = np.meshgrid(
        PAIR_PROBABILITIES,
        PAIR_PROBABILITIES,
        np.array([0.05]),
        np.array([0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0]),
        np.array(deltas),
        indexing="ij",
    )
    return make_pair(*(axis.ravel() for axis in axes))


def pair_columns(pair: Pair) -> dict[str, Floats]:
    """Columns of a check's grid of coupled pairs, for counterexamples."""
    return {name: getattr(pair, name) for name in ("q1", "q2", "r2", "xi", "delta")}


def one_pair(q1: float, q2: float, r2: float, xi: float, delta: float) -> Pair:
    """A check's worked example: one coupled pair as arrays of one entry."""
    return make_pair([q1], [q2], [r2], [xi], [delta])


def pair_numbers(pair: Pair) -> dict[str, float | int | None]:
    """Worked example in the checks of the pair: its own and its effective advantages."""
    (own_1, own_2), (pull_1, pull_2) = pair.own, pair.pulls
    numbers: dict[str, float | int | None] = {
        name: float(column[0]) for name, column in pair_columns(pair).items()
    }
    return numbers | {
        "A_1": float(own_1[0]),
        "A_2": float(own_2[0]),
        "effective_1": float(pull_1[0]),
        "effective_2": float(pull_2[0]),
    }


def simulated_pulls(pair: Pair, groups: int, seed: int) -> dict[str, float | int | None]:
    """Checks of the pair by simulation: both effective advantages in groups of 8, by RLOO.

    Each sample is an action against the rest in groups of its own; the failure rate of the rest is
    chosen in the middle of what the risk allows.
    """
    draw = np.random.default_rng(seed)
    joint = []
    for q, risk in ((pair.q1[0], -pair.xi[0] * pair.r2[0]), (pair.q2[0], pair.r2[0])):
        base = (1 - risk) / 2
        drawn = draw_groups([q, 1 - q], [base + risk, base], 8, groups, draw)
        advantage = credited(drawn, Estimator(8, is_leave_one_out=True))
        joint.append(np.where(drawn.action == 0, advantage, 0).mean(1))
    delta = pair.delta[0]
    sums = (joint[0] + delta * joint[1], joint[1] + delta * joint[0])
    found: dict[str, float | int | None] = {}
    for index, values in enumerate(sums, start=1):
        found |= {
            f"simulated_{index}": float(values.mean()),
            f"simulated_error_{index}": float(values.std(ddof=1) / np.sqrt(groups)),
        }
    return found


@claims.add(
    ORDER,
    "A_1 + delta A_2 >= A_2 + delta A_1 for A_1 > 0 > A_2, as is clear.",
    "Any coupling delta >= 0. The difference is (1 - delta)(A_1 - A_2).",
    "any-delta",
)
def check_order(
    q1: float = 0.6,
    q2: float = 0.4,
    r2: float = 0.1,
    xi: float = 2.0,
    delta: float = 1.2,
    groups: int = 20_000,
    seed: int = 50,
) -> Finding:
    pair = pair_grid((0.0, 0.1, 0.5, 0.9, 1.0, 1.1, 1.5, 2.0))
    first, second = pair.pulls
    is_true = first >= second - 1e-15
    meets = pair.delta <= 1
    one = one_pair(q1, q2, r2, xi, delta)
    return conclude(
        is_true,
        pair_numbers(one) | simulated_pulls(one, groups, seed),
        pair_columns(pair),
        meets=meets,
        condition="delta <= 1",
    )


def _gap_changes(pair: Pair, step_size: float) -> tuple[Floats, Floats]:
    """Growth of z1 - z2 and of p1 - p2 by one exact step."""
    path = follow_pairs(pair, step_size, 1)
    pulls = pair.pulls
    probability = (path.q1[1] - path.q2[1]) - (path.q1[0] - path.q2[0])
    return step_size * (pulls[0] - pulls[1]), probability


GAP_TEXT = "The probability gap p_1 - p_2 is widened."


@claims.add(GAP, GAP_TEXT, "Gap: z_1 - z_2, the log-odds of both. 0 <= delta < 1.", "log-odds")
def check_gap_log_odds(
    q1: float = 0.95,
    q2: float = 0.5,
    r2: float = 0.04,
    xi: float = 20.0,
    delta: float = 0.5,
    step_size: float = 1.0,
) -> Finding:
    pair = pair_grid()
    is_true = _gap_changes(pair, step_size)[0] > 0
    one = one_pair(q1, q2, r2, xi, delta)
    log_odds, probability = _gap_changes(one, step_size)
    numbers = pair_numbers(one) | {
        "step_size": step_size,
        "log_odds_gap_change": float(log_odds[0]),
        "probability_gap_change": float(probability[0]),
    }
    return conclude(is_true, numbers, pair_columns(pair))


@claims.add(
    GAP,
    GAP_TEXT,
    "Gap: p_1 - p_2 itself, one exact step of size 0.1, 0 <= delta < 1. Near 1 a probability moves "
    "little however hard its logit is pulled.",
    "probabilities",
)
def check_gap_probabilities(
    q1: float = 0.95,
    q2: float = 0.5,
    r2: float = 0.04,
    xi: float = 20.0,
    delta: float = 0.5,
    step_size: float = 0.1,
) -> Finding:
    pair = pair_grid()
    _, change = _gap_changes(pair, step_size)
    is_true = change >= 0
    pulls = pair.pulls
    meets = pair.q1 * (1 - pair.q1) * pulls[0] >= pair.q2 * (1 - pair.q2) * pulls[1]
    one = one_pair(q1, q2, r2, xi, delta)
    log_odds, probability = _gap_changes(one, step_size)
    numbers = pair_numbers(one) | {
        "step_size": step_size,
        "log_odds_gap_change": float(log_odds[0]),
        "probability_gap_change": float(probability[0]),
    }
    return conclude(
        is_true,
        numbers,
        pair_columns(pair) | {"gap_change": change},
        badness=-change,
        meets=meets,
        condition="p_1 (1 - p_1)(A_1 + delta A_2) >= p_2 (1 - p_2)(A_2 + delta A_1)",
    )


@claims.add(
    RISE,
    "If |A_1| >> |A_2|, both probabilities rise at first.",
    "|A_1| at least 10 |A_2|. What decides is delta |A_1| > |A_2|, so that a weak coupling needs "
    "more than a large ratio.",
    "ten-times",
)
def check_both_rise(
    q1: float = 0.5,
    q2: float = 0.5,
    r2: float = 0.05,
    xi: float = 10.0,
    delta: float = 0.05,
    groups: int = 20_000,
    seed: int = 51,
) -> Finding:
    pair = pair_grid((0.01, 0.05, 0.1, 0.3, 0.5, 0.8))
    own_1, own_2 = pair.own
    pair = pair.select(np.abs(own_1) >= 10 * np.abs(own_2))
    own_1, own_2 = pair.own
    first, second = pair.pulls
    is_true = (first > 0) & (second > 0)
    meets = pair.delta * np.abs(own_1) > np.abs(own_2)
    one = one_pair(q1, q2, r2, xi, delta)
    return conclude(
        is_true,
        pair_numbers(one) | simulated_pulls(one, groups, seed),
        pair_columns(pair),
        meets=meets,
        condition="delta |A_1| > |A_2|",
    )


PULL_TEXT = (
    "As a good action's probability increases, its advantage decreases, and with it the pull on "
    "similar bad actions."
)


@claims.add(
    PULL,
    PULL_TEXT,
    "Joint reading: the pull is delta xi r q1 (1 - q1), which first grows.",
    "joint",
)
def check_pull_joint(q1: float = 0.2, r2: float = 0.1, xi: float = 2.0) -> Finding:
    grid = np.linspace(0.005, 0.995, 199)
    slope = 1 - 2 * grid
    is_true, meets = slope <= 1e-12, grid >= 0.5 - 1e-12
    numbers = {
        "q1": q1,
        "r2": r2,
        "xi": xi,
        "advantage": xi * r2 * q1 * (1 - q1),
        "slope": xi * r2 * (1 - 2 * q1),
    }
    return conclude(
        is_true, numbers, {"q1": grid, "slope": slope}, meets=meets, condition="q1 >= 0.5"
    )


@claims.add(
    PULL,
    PULL_TEXT,
    "Conditional reading: the advantage where the good action is taken is xi r (1 - q1).",
    "conditional",
)
def check_pull_conditional(q1: float = 0.2, r2: float = 0.1, xi: float = 2.0) -> Finding:
    grid = np.linspace(0.005, 0.995, 199)
    is_true = np.diff(1 - grid) < 0
    numbers = {"q1": q1, "advantage": xi * r2 * (1 - q1), "slope": -xi * r2}
    return conclude(is_true, numbers, {"q1": grid[1:]})


TURN_TEXT = (
    "The flawed action's probability begins to decrease only after the good action's has become "
    "high enough, and then it does decrease."
)


@claims.add(
    TURN,
    TURN_TEXT,
    "Every pair with delta < 1, exact steps. It turns where q2 (1-q2) / (q1 (1-q1)) reaches "
    "xi delta; whoever starts beyond that decreases from the beginning.",
    "from-any-start",
)
def check_turn_any(
    q1: float = 0.3, q2: float = 0.5, r2: float = 0.05, xi: float = 1.0, delta: float = 0.5
) -> Finding:
    pair = pair_grid()
    rises_first = pair.pulls[1] > 0
    is_true = rises_first
    one = one_pair(q1, q2, r2, xi, delta)
    ratio = odds_ratio(one.q1, one.q2)
    numbers = pair_numbers(one) | {
        "strength": float(one.strength[0]),
        "odds_ratio": float(ratio[0]),
    }
    meets = odds_ratio(pair.q1, pair.q2) < pair.strength
    return conclude(
        is_true,
        numbers,
        pair_columns(pair),
        meets=meets,
        condition="q2 (1-q2) / (q1 (1-q1)) < xi delta at the start",
    )


@claims.add(
    TURN,
    TURN_TEXT,
    "Pairs with delta < 1 and xi delta <= 10 whose flawed action rises first, exact steps of 0.02 "
    "in the faster logit: it turns, from then on it only decreases, and at the turn q1 > 1/2 has "
    "reached the threshold (1 + sqrt(1 - 4 q2 (1-q2) / (xi delta))) / 2.",
    "after-rising",
)
def check_turn(
    q1: float = 0.3,
    q2: float = 0.2,
    r2: float = 0.05,
    xi: float = 5.0,
    delta: float = 0.5,
    move: float = 0.02,
    num_steps: int = 1500,
) -> Finding:
    pair = pair_grid((0.1, 0.3, 0.5, 0.8))
    # A stronger coupling turns only where float64 has no more probabilities below 1.
    kept = (pair.pulls[1] > 0) & (pair.q1 < 0.99) & (pair.q2 < 0.99) & (pair.strength <= 10)
    pair = pair.select(kept)
    is_true, turn_q1, turn_q2 = _turns(pair, move, num_steps)
    _, own_q1, own_q2 = _turns(one_pair(q1, q2, r2, xi, delta), move, num_steps)
    strength = xi * delta
    numbers = pair_numbers(one_pair(q1, q2, r2, xi, delta)) | {
        "move": move,
        "q1_at_turn": float(own_q1[0]),
        "q2_at_turn": float(own_q2[0]),
        "threshold_at_turn": float(threshold(own_q2, strength)[0]),
        "grid_smallest_q1_at_turn": float(np.nanmin(turn_q1)),
        "grid_largest_q2_at_turn": float(np.nanmax(turn_q2)),
    }
    columns = pair_columns(pair) | {"q1_at_turn": turn_q1, "q2_at_turn": turn_q2}
    return conclude(is_true, numbers, columns)


def _turns(pair: Pair, move: float, num_steps: int) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Whether each pair turns as claimed, and its probabilities at the turn (NaN without one)."""
    path = follow_pairs(pair, 1.0, num_steps, max_move=move)
    index = np.arange(len(pair.q1))
    has_turn = path.turn >= 0
    turn = np.maximum(path.turn, 0)
    q1, q2 = path.q1[turn, index], path.q2[turn, index]
    time = np.arange(num_steps)[:, None]
    goes_on_down = ((np.diff(path.q2, axis=0) <= 1e-15) | (time < turn)).all(0)
    # The threshold is crossed within the step before the turn.
    is_high = (q1 > 0.5) & (q1 > threshold(q2, pair.strength) - 1e-9)
    found = has_turn & goes_on_down & is_high
    return found, np.where(has_turn, q1, np.nan), np.where(has_turn, q2, np.nan)


@claims.add(
    MANY,
    "p_1 may have to become very large, because several positive samples push the negative one.",
    "m good samples of equal probability push: the q1 at which the flawed action stops rising, "
    "(1 + sqrt(1 - 4 q2 (1-q2) / (m xi delta))) / 2, increases with m.",
    "threshold",
)
def check_many(q2: float = 0.3, xi: float = 1.0, delta: float = 0.5) -> Finding:
    count = np.arange(1, 65)
    second = np.linspace(0.01, 0.99, 99)[:, None, None]
    strength = np.array([0.1, 0.5, 1.0, 2.0, 10.0])[None, :, None]
    found = threshold(second, strength * count)
    is_true = np.diff(found, axis=-1) >= 0
    is_true &= (found[..., -1:] > found[..., :1]) | (found[..., -1:] == 0.5)
    numbers: dict[str, float | int | None] = {"q2": q2, "xi": xi, "delta": delta}
    for num in (1, 2, 4, 8, 16, 32, 64):
        numbers[f"q1_needed_for_{num}"] = float(threshold(q2, xi * delta * num))
    return conclude(is_true, numbers)


@claims.add(
    GOAL,
    "A small enough delta gives A_1 + delta A_2 > 0 and A_2 + delta A_1 < 0.",
    "Both hold exactly for delta < min(|A_1| / |A_2|, |A_2| / |A_1|), which is small itself where "
    "one advantage is.",
    "any-delta",
)
def check_goal(
    q1: float = 0.6, q2: float = 0.05, r2: float = 0.05, xi: float = 5.0, delta: float = 0.3
) -> Finding:
    pair = pair_grid((0.001, 0.01, 0.1, 0.3, 0.5, 0.8, 0.95))
    own_1, own_2 = pair.own
    first, second = pair.pulls
    is_true = (first > 0) & (second < 0)
    limit = np.minimum(np.abs(own_1 / own_2), np.abs(own_2 / own_1))
    meets = pair.delta < limit * (1 - 1e-12)
    one = one_pair(q1, q2, r2, xi, delta)
    (own,), (other,) = one.own
    numbers = pair_numbers(one) | {"largest_delta": float(min(abs(own / other), abs(other / own)))}
    return conclude(
        is_true,
        numbers,
        pair_columns(pair),
        meets=meets,
        condition="delta < min(|A_1| / |A_2|, |A_2| / |A_1|)",
    )


@claims.add(
    SCALED,
    "Enlarging |A_2| by step rewards does not solve the problem, since A_1 may be enlarged, too.",
    "Both enlarged alike: the signs of the effective advantages stay what they were.",
    "both-alike",
)
def check_scaled(
    q1: float = 0.6, q2: float = 0.3, r2: float = 0.05, xi: float = 5.0, delta: float = 0.5
) -> Finding:
    pair = pair_grid()
    larger = make_pair(pair.q1, pair.q2, 3 * pair.r2, pair.xi, pair.delta)
    # A pull of 0 is one up to rounding.
    before, after = np.round(pair.pulls[1], 15), np.round(larger.pulls[1], 15)
    is_true = np.sign(before) == np.sign(after)
    one = one_pair(q1, q2, r2, xi, delta)
    numbers = pair_numbers(one) | {
        "effective_2_enlarged_3_times": float(one_pair(q1, q2, 3 * r2, xi, delta).pulls[1][0])
    }
    return conclude(is_true, numbers, pair_columns(pair))


@claims.add(
    SCALED,
    "Enlarging |A_2| by step rewards makes the influence of other samples relatively weaker.",
    "|A_2| alone enlarged: A_2 + delta A_1 falls.",
    "second-alone",
)
def check_second_alone(
    q1: float = 0.6, q2: float = 0.3, r2: float = 0.05, xi: float = 5.0, delta: float = 0.5
) -> Finding:
    pair = pair_grid()
    more = 3 * pair.own[1] + pair.delta * pair.own[0]
    is_true = more < pair.pulls[1]
    one = one_pair(q1, q2, r2, xi, delta)
    enlarged = 3 * one.own[1] + one.delta * one.own[0]
    numbers = pair_numbers(one) | {"effective_2_enlarged_3_times": float(enlarged[0])}
    return conclude(is_true, numbers, pair_columns(pair))

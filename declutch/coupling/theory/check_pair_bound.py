"""The checks on RM's Theorem A.1: how far a coupled pair's good logit must rise, and its proof."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from declutch.coupling.theory.advantage import Floats
from declutch.coupling.theory.check_pair import (
    one_pair,
    pair_columns,
    pair_grid,
    pair_numbers,
)
from declutch.coupling.theory.coupled_pair import (
    Pair,
    follow_pairs,
    odds_ratio,
    paper_bound,
    sharp_bound,
)
from declutch.coupling.theory.findings import (
    ClaimList,
    Finding,
    Place,
    conclude,
)

SIGN = Place("RM-A.3-eq19", "A.3, eq. 19")
IDENTITY = Place("RM-A.3-eq21", "A.3, eq. 21")
CHAIN = Place("RM-A.3-eq22", "A.3, eq. 22")
SUM = Place("RM-A.3-eq23", "A.3, eq. 23")
THEOREM = Place("RM-TA.1", "Theorem A.1")
MOVE, NUM_STEPS = 0.02, 1500
claims = ClaimList()
"""The claims of the bound on a coupled pair that this module's checks are of."""


@claims.add(
    SIGN,
    "A_2 + delta A_1 <= 0 exactly where q2 (1-q2) / (q1 (1-q1)) >= xi delta.",
    "0 < q1 < 1, r2 > 0, xi > 0, delta >= 0.",
    "equivalence",
)
def check_sign(
    q1: float = 0.6, q2: float = 0.3, r2: float = 0.05, xi: float = 5.0, delta: float = 0.5
) -> Finding:
    pair = pair_grid((0.0, 0.1, 0.5, 0.95, 1.5))
    gap = odds_ratio(pair.q1, pair.q2) - pair.strength
    is_true = ((pair.pulls[1] <= 0) == (gap >= 0)) | (np.abs(gap) < 1e-12)
    one = one_pair(q1, q2, r2, xi, delta)
    numbers = pair_numbers(one) | {
        "odds_ratio": float(odds_ratio(one.q1, one.q2)[0]),
        "strength": float(one.strength[0]),
    }
    return conclude(is_true, numbers, pair_columns(pair))


def _odds_grid() -> tuple[Floats, Floats, Floats]:
    """h1, h2 and C over many magnitudes."""
    sizes = np.exp(np.linspace(-4, 4, 17))
    axes = np.meshgrid(sizes, sizes, sizes, indexing="ij")
    return axes[0].ravel(), axes[1].ravel(), axes[2].ravel()


def _ratio_of_odds(h1: Floats, h2: Floats, others: Floats) -> Floats:
    return np.asarray(h2 * (h1 + others) ** 2 / (h1 * (h2 + others) ** 2))


@claims.add(
    IDENTITY,
    "q2 (1-q2) / (q1 (1-q1)) = h2 (h1 + C)^2 / (h1 (h2 + C)^2) with h = exp(z).",
    "The same C for both samples, as eq. 17 assumes.",
    "equal-others",
)
def check_identity(h1: float = 3.0, h2: float = 2.0, others: float = 1.0) -> Finding:
    first, second, rest = _odds_grid()
    left = odds_ratio(first / (first + rest), second / (second + rest))
    right = _ratio_of_odds(first, second, rest)
    is_true = np.abs(left / right - 1) < 1e-9
    numbers = {
        "h1": h1,
        "h2": h2,
        "C": others,
        "left": float(odds_ratio(h1 / (h1 + others), h2 / (h2 + others))),
        "right": float(_ratio_of_odds(np.array(h1), np.array(h2), np.array(others))),
    }
    columns = {"h1": first, "h2": second, "C": rest}
    return conclude(is_true, numbers, columns)


CHAIN_TEXT = (
    "xi delta <= q2 (1-q2) / (q1 (1-q1)) requires z_1 - z_2 >= 1/2 ln(xi delta), since the ratio "
    "is at most (h1 / h2)^2."
)


def _chain_finding(
    is_true: NDArray[np.bool_], meets: NDArray[np.bool_] | None, example: Floats, condition: str
) -> Finding:
    first, second, rest = _odds_grid()
    if meets is not None and condition == "":
        first, second, rest = first[meets], second[meets], rest[meets]
        is_true, meets = is_true[meets], None
    own = _ratio_of_odds(*example)
    numbers = {
        "h1": float(example[0]),
        "h2": float(example[1]),
        "C": float(example[2]),
        "ratio": float(own),
        "squared_odds": float((example[0] / example[1]) ** 2),
        "odds": float(example[0] / example[1]),
    }
    columns = {
        "h1": first,
        "h2": second,
        "C": rest,
        "ratio": _ratio_of_odds(first, second, rest),
    }
    return conclude(is_true, numbers, columns, meets=meets, condition=condition)


@claims.add(CHAIN, CHAIN_TEXT, "h2 <= h1, as the proof assumes.", "good-more-likely")
def check_chain(h1: float = 4.0, h2: float = 2.0, others: float = 1.0) -> Finding:
    first, second, rest = _odds_grid()
    is_true = _ratio_of_odds(first, second, rest) <= (first / second) ** 2 * (1 + 1e-12)
    return _chain_finding(is_true, second <= first, np.array([h1, h2, others]), "")


@claims.add(
    CHAIN,
    CHAIN_TEXT,
    "Without the assumption, which the theorem's statement replaces by q1, q2 > 1/2.",
    "any-order",
)
def check_chain_any(h1: float = 2.0, h2: float = 4.0, others: float = 1.0) -> Finding:
    first, second, rest = _odds_grid()
    above = (first > rest) & (second > rest)
    is_true = _ratio_of_odds(first, second, rest) <= (first / second) ** 2 * (1 + 1e-12)
    is_true |= ~above
    return _chain_finding(
        is_true, second <= first, np.array([h1, h2, others]), "h2 <= h1 (z_2 <= z_1)"
    )


@claims.add(
    CHAIN,
    "The ratio is at most h1 / h2, so that z_1 - z_2 >= ln(xi delta) is required.",
    "Ours: the factor h2 / h1 that the proof drops is kept. h2 <= h1. Twice the paper's bound, and "
    "the best of this form: the ratio comes to h1 / h2 as C goes to 0.",
    "sharper",
)
def check_chain_sharp(h1: float = 4.0, h2: float = 2.0, others: float = 0.001) -> Finding:
    first, second, rest = _odds_grid()
    is_true = _ratio_of_odds(first, second, rest) <= first / second * (1 + 1e-12)
    return _chain_finding(is_true, second <= first, np.array([h1, h2, others]), "")


@claims.add(
    SUM,
    "While A_2 > -delta A_1, (1-delta) A_1 + (delta-1) A_2 <= (1-delta^2) A_1 at every step.",
    "Any coupling delta >= 0.",
    "any-delta",
)
def check_sum(
    q1: float = 0.6, q2: float = 0.1, r2: float = 0.05, xi: float = 5.0, delta: float = 1.5
) -> Finding:
    def sides(pair: Pair) -> tuple[Floats, Floats]:
        own_1, own_2 = pair.own
        left = (1 - pair.delta) * own_1 + (pair.delta - 1) * own_2
        return left, (1 - pair.delta**2) * own_1

    pair = pair_grid((0.0, 0.3, 0.8, 1.0, 1.2, 2.0))
    pair = pair.select(pair.pulls[1] > 0)
    left, right = sides(pair)
    is_true = left <= right + 1e-15
    one = one_pair(q1, q2, r2, xi, delta)
    own_left, own_right = sides(one)
    numbers = pair_numbers(one) | {"left": float(own_left[0]), "right": float(own_right[0])}
    meets = pair.delta <= 1
    return conclude(
        is_true,
        numbers,
        pair_columns(pair) | {"left": left, "right": right},
        meets=meets,
        condition="delta <= 1",
    )


@claims.add(
    SUM,
    "eta (1-delta^2) sum_i A_1^i <= Delta z_1, the rise of the good action's logit until then.",
    "The last step of eq. 23, at every step: (1-delta^2) A_1 <= A_1 + delta A_2.",
    "rise",
)
def check_rise(
    q1: float = 0.6, q2: float = 0.1, r2: float = 0.05, xi: float = 5.0, delta: float = 0.5
) -> Finding:
    pair = pair_grid((0.0, 0.3, 0.8, 1.0, 1.2, 2.0))
    pair = pair.select(pair.pulls[1] > 0)
    left, right = (1 - pair.delta**2) * pair.own[0], pair.pulls[0]
    is_true = left <= right + 1e-15
    one = one_pair(q1, q2, r2, xi, delta)
    numbers = pair_numbers(one) | {
        "left": float((1 - delta**2) * one.own[0][0]),
        "right": float(one.pulls[0][0]),
    }
    return conclude(is_true, numbers, pair_columns(pair))


STATEMENT = (
    "The good action's h1 = exp(z_1) has to be exp(1/2 xi delta + Delta z^) times its original "
    "value until the flawed action's probability starts to decrease."
)
WITH_LN = STATEMENT.replace("1/2 xi delta", "1/2 ln(xi delta)")


def _risen(pair: Pair) -> tuple[Pair, Floats, Floats, Floats]:
    """Pairs that turn, ln of the factor by which h1 rose until then, and z1 and z2 at the turn.

    Steps are exact ones of 0.02 in the faster logit, with others' logits fixed. A pair that does
    not rise at first turns at once, with a factor of 1.
    """
    path = follow_pairs(pair, 1.0, NUM_STEPS, max_move=MOVE)
    found = path.turn >= 0
    index = np.flatnonzero(found)
    turned = pair.select(found)
    turn = path.turn[found]
    first = np.log(path.q1[turn, index] / (1 - path.q1[turn, index]))
    second = np.log(path.q2[turn, index] / (1 - path.q2[turn, index]))
    return turned, first - turned.logits[0], first, second


def _bound_finding(
    pair: Pair,
    claimed: Floats,
    risen: tuple[Pair, Floats, Floats, Floats],
    example: dict[str, float | int | None],
    *,
    is_equality: bool = False,
    conditional: bool = False,
) -> Finding:
    """A lower bound of ln of the factor against what exact steps came to."""
    turned, rise, first, second = risen
    # A turn is seen at the first step past it, so a rise may be a step too long, never too short.
    is_true = np.abs(rise - claimed) < 0.05 if is_equality else rise >= claimed - 1e-9
    meets = first >= second - 1e-9 if conditional else None
    columns = pair_columns(turned) | {
        "ln_factor": rise,
        "ln_claimed": claimed,
        "z1_at_turn": first,
        "z2_at_turn": second,
    }
    return conclude(
        is_true,
        example,
        columns,
        badness=np.where(is_true, -np.inf, claimed - rise),
        meets=meets,
        condition="z_1 >= z_2 when it starts to decrease" if conditional else "",
    )


def _start_gap(pair: Pair) -> Floats:
    first, second = pair.logits
    return second - first


def _bound_example(pair: Pair) -> dict[str, float | int | None]:
    _, rise, first, second = _risen(pair)
    numbers = pair_numbers(pair) | {
        "strength": float(pair.strength[0]),
        "start_gap_z2_less_z1": float(_start_gap(pair)[0]),
        "ln_factor_printed": float((0.5 * pair.strength + _start_gap(pair))[0]),
        "ln_factor_with_ln": float((paper_bound(pair.strength) + _start_gap(pair))[0]),
        "ln_factor_sharper": float((sharp_bound(pair.strength) + _start_gap(pair))[0]),
        "move": MOVE,
    }
    if len(rise):
        numbers |= {
            "ln_factor": float(rise[0]),
            "factor": float(np.exp(rise[0])),
            "q1_at_turn": float(expit(first[0])),
            "q2_at_turn": float(expit(second[0])),
        }
    return numbers


def _likely_pairs(*, is_ordered: bool) -> Pair:
    """The theorem's premise: q1 and q2 above 1/2 at the start; ordered q1 >= q2 where asked for."""
    pair = pair_grid((0.1, 0.3, 0.5, 0.8))
    kept = (pair.q1 > 0.5) & (pair.q2 > 0.5) & (pair.q2 < 0.99) & (pair.q1 < 0.99)
    return pair.select(kept & (pair.q1 >= pair.q2) if is_ordered else kept)


@claims.add(
    THEOREM,
    STATEMENT,
    "As printed, without the ln of its proof, as what is required at least. Delta z^ = z_2 - z_1 "
    "at the start, which the proof's sums give. q1 >= q2 > 1/2.",
    "as-printed",
)
def check_printed(
    q1: float = 0.85, q2: float = 0.6, r2: float = 0.05, xi: float = 10.0, delta: float = 0.5
) -> Finding:
    pair = _likely_pairs(is_ordered=True)
    risen = _risen(pair)
    claimed = 0.5 * risen[0].strength + _start_gap(risen[0])
    return _bound_finding(pair, claimed, risen, _bound_example(one_pair(q1, q2, r2, xi, delta)))


@claims.add(
    THEOREM,
    WITH_LN,
    "With the ln of the proof, as what is required at least; Delta z^ = z_2 - z_1 at the start. "
    "The statement's premise q1, q2 > 1/2, in any order.",
    "with-ln",
)
def check_with_ln(
    q1: float = 0.65, q2: float = 0.8, r2: float = 0.05, xi: float = 5.0, delta: float = 0.1
) -> Finding:
    pair = _likely_pairs(is_ordered=False)
    risen = _risen(pair)
    claimed = paper_bound(risen[0].strength) + _start_gap(risen[0])
    example = _bound_example(one_pair(q1, q2, r2, xi, delta))
    return _bound_finding(pair, claimed, risen, example, conditional=True)


@claims.add(
    THEOREM,
    WITH_LN,
    "With the ln, as what is required at least; z_1 >= z_2 at the start instead of q1, q2 > 1/2.",
    "with-ln-ordered",
)
def check_with_ln_ordered(
    q1: float = 0.4, q2: float = 0.2, r2: float = 0.05, xi: float = 10.0, delta: float = 0.5
) -> Finding:
    pair = pair_grid((0.1, 0.3, 0.5, 0.8))
    pair = pair.select((pair.q1 >= pair.q2) & (pair.q1 < 0.99))
    risen = _risen(pair)
    claimed = paper_bound(risen[0].strength) + _start_gap(risen[0])
    return _bound_finding(pair, claimed, risen, _bound_example(one_pair(q1, q2, r2, xi, delta)))


@claims.add(
    THEOREM,
    WITH_LN,
    "With the ln, but Delta z^ = z_1 - z_2 at the start, the other way to read an undefined sign.",
    "other-sign",
)
def check_other_sign(
    q1: float = 0.85, q2: float = 0.6, r2: float = 0.05, xi: float = 10.0, delta: float = 0.5
) -> Finding:
    pair = _likely_pairs(is_ordered=True)
    risen = _risen(pair)
    claimed = paper_bound(risen[0].strength) - _start_gap(risen[0])
    return _bound_finding(pair, claimed, risen, _bound_example(one_pair(q1, q2, r2, xi, delta)))


@claims.add(
    THEOREM,
    WITH_LN,
    "As an equality, which its words say: this very factor, to 5%, is where the flawed action "
    "turns.",
    "equality",
)
def check_equality(
    q1: float = 0.7, q2: float = 0.6, r2: float = 0.05, xi: float = 10.0, delta: float = 0.5
) -> Finding:
    pair = _likely_pairs(is_ordered=True)
    pair = pair.select(pair.pulls[1] > 0)
    risen = _risen(pair)
    claimed = paper_bound(risen[0].strength) + _start_gap(risen[0])
    example = _bound_example(one_pair(q1, q2, r2, xi, delta))
    example["grid_smallest_excess"] = float((risen[1] - claimed).min())
    example["grid_mean_excess"] = float((risen[1] - claimed).mean())
    return _bound_finding(pair, claimed, risen, example, is_equality=True)


@claims.add(
    THEOREM,
    "h1 has to be at least exp(ln(xi delta) + z_2 - z_1 at the start) times its original value.",
    "Ours, from the sharper chain: the square root in the theorem is not needed. z_1 >= z_2 at the "
    "start.",
    "sharper",
)
def check_sharper(
    q1: float = 0.7, q2: float = 0.6, r2: float = 0.05, xi: float = 10.0, delta: float = 0.5
) -> Finding:
    pair = pair_grid((0.1, 0.3, 0.5, 0.8))
    pair = pair.select((pair.q1 >= pair.q2) & (pair.q1 < 0.99))
    risen = _risen(pair)
    claimed = sharp_bound(risen[0].strength) + _start_gap(risen[0])
    example = _bound_example(one_pair(q1, q2, r2, xi, delta))
    rising = risen[1] > 0
    example["grid_smallest_excess"] = float((risen[1] - claimed)[rising].min())
    return _bound_finding(pair, claimed, risen, example)


@claims.add(
    THEOREM,
    "Once h1 has grown by exp(1/2 ln(xi delta) + Delta z^), the flawed action's probability falls.",
    "The bound as a sufficient one: at exactly this factor, with z_2 where it started.",
    "sufficient",
)
def check_enough(
    q1: float = 0.7, q2: float = 0.6, r2: float = 0.05, xi: float = 10.0, delta: float = 0.5
) -> Finding:
    def pull_at_bound(pair: Pair) -> tuple[Floats, Floats]:
        first = pair.logits[1] + paper_bound(pair.strength)
        moved = Pair(expit(first), pair.q2, pair.r2, pair.xi, pair.delta, pair.num_good)
        return moved.q1, moved.pulls[1]

    pair = _likely_pairs(is_ordered=True)
    pair = pair.select(pair.strength > 1)
    at, pull = pull_at_bound(pair)
    is_true = pull <= 0
    one = one_pair(q1, q2, r2, xi, delta)
    own_at, own_pull = pull_at_bound(one)
    numbers = pair_numbers(one) | {
        "q1_at_bound": float(own_at[0]),
        "effective_2_at_bound": float(own_pull[0]),
    }
    columns = pair_columns(pair) | {"q1_at_bound": at, "effective_2_at_bound": pull}
    return conclude(is_true, numbers, columns, badness=pull)


@claims.add(
    THEOREM,
    WITH_LN,
    "The exponentials of the other logits sum to C for sample 1 and to C' for sample 2, the first "
    "premise given up: z_1 - z_2 >= 1/2 ln(xi delta) where the flawed action's pull is not "
    "positive.",
    "unequal-others",
)
def check_unequal(
    h1: float = 2.0, h2: float = 2.0, others_1: float = 2.0, others_2: float = 0.2
) -> Finding:
    sizes = np.exp(np.linspace(-3, 3, 13))
    axes = np.meshgrid(sizes, sizes, sizes, sizes, indexing="ij")
    first, second, rest_1, rest_2 = (axis.ravel() for axis in axes)
    kept = second <= first
    first, second, rest_1, rest_2 = (each[kept] for each in (first, second, rest_1, rest_2))
    q1, q2 = first / (first + rest_1), second / (second + rest_2)
    # The largest xi delta at which the pull is not positive is the ratio itself.
    ratio = odds_ratio(q1, q2)
    is_true = np.log(first / second) >= 0.5 * np.log(ratio) - 1e-12
    own = odds_ratio(h1 / (h1 + others_1), h2 / (h2 + others_2))
    numbers = {
        "h1": h1,
        "h2": h2,
        "C_1": others_1,
        "C_2": others_2,
        "largest_strength": float(own),
        "z1_less_z2": float(np.log(h1 / h2)),
        "bound": float(0.5 * np.log(own)),
    }
    columns = {"h1": first, "h2": second, "C_1": rest_1, "C_2": rest_2, "ratio": ratio}
    meets = rest_1 == rest_2
    return conclude(
        is_true,
        numbers,
        columns,
        badness=0.5 * np.log(ratio) - np.log(first / second),
        meets=meets,
        condition="C = C'",
    )


@claims.add(
    THEOREM,
    WITH_LN,
    "Exact softmax steps of two actions per sample: the other logit falls as much as the chosen "
    "one rises, so that C does not stay. Equal others and z_1 >= z_2 at the start.",
    "other-logits-move",
)
def check_moving(
    q1: float = 0.7, q2: float = 0.6, r2: float = 0.05, xi: float = 10.0, delta: float = 0.5
) -> Finding:
    # Log-odds move twice as fast as the chosen logit alone: the same path, half the rise.
    pair = pair_grid((0.1, 0.3, 0.5, 0.8))
    pair = pair.select((pair.q1 >= pair.q2) & (pair.q1 < 0.99))
    turned, rise, first, second = _risen(pair)
    claimed = paper_bound(turned.strength) + _start_gap(turned)
    example = _bound_example(one_pair(q1, q2, r2, xi, delta))
    example["ln_factor_own_logit"] = _half(example.get("ln_factor"))
    halved = (turned, rise / 2, first, second)
    return _bound_finding(pair, claimed, halved, example)


def _half(value: float | int | None) -> float | None:
    return None if value is None else value / 2

"""The checks on the papers' formula of coupling at the read-out, and on embeddings pushed apart."""

from __future__ import annotations

import numpy as np

from declutch.coupling.theory.advantage import Floats
from declutch.coupling.theory.findings import (
    ClaimList,
    Finding,
    Place,
    conclude,
)
from declutch.coupling.theory.readout import (
    Sentence,
    deep_gradient,
    readout_gradient,
    token_coupling,
)

FORMULA = (Place("GC-4-eq2", "section 4, eq. 2"), Place("RM-4.1-eq2", "section 4.1, eq. 2"))
APART = (
    Place("GC-4-apart", "section 4, on separated embeddings"),
    Place("RM-4.1-apart", "section 4.1, on separated embeddings"),
)
FORMULA_TEXT = (
    "The coupling of two samples is sum over k, k' of alpha_{k,k'} <h_k, h_k'>, with alpha the "
    "inner product of their prediction errors."
)
APART_TEXT = (
    "If the hidden states of a good and a similar bad sample are pushed apart, reinforcing the "
    "good one no longer reinforces the bad one."
)
claims = ClaimList()
"""The claims about the read-out that this module's checks are of."""


def _samples(width: int, vocabulary: int, seed: int) -> tuple[Floats, Floats, Floats, list]:
    draw = np.random.default_rng(seed)
    body, readout = draw.normal(size=(width, width)), draw.normal(size=(width, vocabulary))
    inputs = [draw.normal(size=(draw.integers(1, 6), width)) for _ in range(2)]
    samples = [Sentence(each @ body, draw.integers(vocabulary, size=len(each))) for each in inputs]
    return body, readout, np.array(0.0), [inputs, samples]


@claims.add(
    FORMULA,
    FORMULA_TEXT,
    "Coupling: inner product of the log-likelihoods' gradients with respect to the read-out matrix "
    "alone (input and output embeddings apart).",
    "read-out",
)
def check_readout_part(width: int = 6, vocabulary: int = 9, seed: int = 70) -> Finding:
    return _formula_finding(width, vocabulary, seed, is_whole=False)


@claims.add(
    FORMULA,
    FORMULA_TEXT,
    "Coupling: inner product of the gradients of all parameters, here a linear layer below the "
    "read-out. The formula is the read-out's part only.",
    "all-parameters",
)
def check_whole(width: int = 6, vocabulary: int = 9, seed: int = 70) -> Finding:
    return _formula_finding(width, vocabulary, seed, is_whole=True)


def _formula_finding(width: int, vocabulary: int, seed: int, *, is_whole: bool) -> Finding:
    formula, exact = [], []
    for index in range(100):
        body, readout, _, (inputs, samples) = _samples(width, vocabulary, seed + index)
        formula.append(token_coupling(readout, *samples))
        if is_whole:
            first, second = (
                deep_gradient(body, readout, each, sample)
                for each, sample in zip(inputs, samples, strict=True)
            )
        else:
            first, second = (readout_gradient(readout, sample).ravel() for sample in samples)
        exact.append(float(first @ second))
    found, wanted = np.array(formula), np.array(exact)
    error = np.abs(found - wanted)
    is_true = error < 1e-9 * np.maximum(np.abs(wanted), 1)
    numbers = {
        "width": width,
        "vocabulary": vocabulary,
        "formula": formula[0],
        "exact": exact[0],
        "grid_largest_difference": float(error.max()),
        "grid_share_of_sign_agreement": float((np.sign(found) == np.sign(wanted)).mean()),
    }
    columns = {"seed": seed + np.arange(100), "formula": found, "exact": wanted}
    return conclude(is_true, numbers, columns, badness=error)


def _pushed_apart(amount: float, seed: int, *, rotates: bool) -> tuple[float, float, float]:
    """Distance before and coupling before and after a bad sample's state is moved away.

    Both samples predict the same action from similar states. The state is stretched away along its
    own direction, or turned to be orthogonal to the good one.
    """
    draw = np.random.default_rng(seed)
    good = draw.normal(size=(1, 6))
    bad = good + 0.3 * draw.normal(size=(1, 6))
    token = np.array([0])
    # A read-out that knows nothing yet, so that prediction errors do not change with states.
    readout = np.zeros((6, 5))
    before = token_coupling(readout, Sentence(good, token), Sentence(bad, token))
    if rotates:
        along = good[0] / np.linalg.norm(good[0])
        moved = bad - (bad[0] @ along) * along
        moved = moved / np.linalg.norm(moved) * np.linalg.norm(bad)
    else:
        moved = bad * amount
    distance = float(np.linalg.norm(moved - good) - np.linalg.norm(bad - good))
    after = token_coupling(readout, Sentence(good, token), Sentence(moved, token))
    return distance, before, after


@claims.add(
    APART,
    APART_TEXT,
    "Apart: farther away. Stretched along its own direction a state is farther from the good one "
    "and more coupled to it.",
    "distance",
)
def check_distance(amount: float = 3.0, seed: int = 71) -> Finding:
    rows = [_pushed_apart(amount, seed + index, rotates=False) for index in range(100)]
    distance, before, after = map(np.array, zip(*rows, strict=True))
    kept = distance > 0
    is_true = (after < before)[kept]
    numbers = {
        "amount": amount,
        "distance_growth": float(distance[0]),
        "coupling_before": float(before[0]),
        "coupling_after": float(after[0]),
    }
    columns = {
        "distance_growth": distance[kept],
        "coupling_before": before[kept],
        "coupling_after": after[kept],
    }
    return conclude(is_true, numbers, columns)


@claims.add(
    APART,
    APART_TEXT,
    "Apart: orthogonal. The read-out's coupling of a pair of tokens is then exactly 0, whatever "
    "they predict.",
    "orthogonal",
)
def check_orthogonal(seed: int = 72) -> Finding:
    rows = [_pushed_apart(1.0, seed + index, rotates=True) for index in range(100)]
    _, before, after = map(np.array, zip(*rows, strict=True))
    is_true = np.abs(after) < 1e-12 * np.maximum(np.abs(before), 1)
    numbers = {"coupling_before": float(before[0]), "coupling_after": float(after[0])}
    return conclude(is_true, numbers, {"coupling_before": before, "coupling_after": after})

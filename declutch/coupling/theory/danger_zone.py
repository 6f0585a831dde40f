"""Safe regime and danger zone: a flawed action that learning punishes and coupling pushes up.

The flawed action's logit moves by a push less the self-correction of Lemma 3.1. Where they cancel
is a fixed point. It attracts where the difference falls with q, and from an upper one that repels
the action runs away to 1: that root is the boundary of the danger zone, wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from declutch.coupling.theory.advantage import (
    POPULATION,
    Estimator,
    Floats,
    is_valid_risk,
    risky_action,
)

PushKind = Literal["constant", "proportional", "logistic"]
"""How the push on the logit depends on q: c, c q (an advantage c on each occurrence), or
c q (1 - q) (the coupling of two softmax policies whose advantages differ by c)."""


@dataclass(frozen=True)
class Drift:
    """The drift of a flawed action's logit in and out of the danger zone: push and punishment.

    Where the first three fields are arrays, it is many drifts, whose shapes broadcast with q's.

    Attributes:
        push: c >= 0, in units of the advantage.
        risk: r > 0, what the action adds to the failure rate. base: p, the failure rate without it.
        kind: how the push depends on q.
        estimator: of the advantage; without a deviation and over the policy as printed.
        is_conditional: the punishment is r (1 - q), the advantage where the action is taken, and
            not q r (1 - q).
    """

    push: float | Floats
    risk: float | Floats
    base: float | Floats = 0.0
    kind: PushKind = "constant"
    estimator: Estimator = POPULATION
    is_conditional: bool = False

    def __post_init__(self) -> None:
        if not is_valid_risk(self.base, self.risk).all() or np.any(np.asarray(self.risk) <= 0):
            raise ValueError("the risk has to be positive, and base + risk at most 1")

    def pushed(self, q: ArrayLike) -> Floats:
        """The push at probability q, that coupling adds in the safe regime and the danger zone."""
        prob = np.asarray(q, float)
        shape = {
            "constant": np.ones_like(prob),
            "proportional": prob,
            "logistic": prob * (1 - prob),
        }
        return np.asarray(self.push * shape[self.kind])

    def punished(self, q: ArrayLike) -> Floats:
        """The self-correction at probability q, >= 0, strong or weak by zone."""
        prob = np.asarray(q, float)
        force = -risky_action(prob, self.base, self.risk, self.estimator)
        return np.asarray(force / prob if self.is_conditional else force)

    def __call__(self, q: ArrayLike) -> Floats:
        return self.pushed(q) - self.punished(q)


@dataclass(frozen=True)
class FixedPoint:
    """A probability at which the push and the self-correction of the danger zone cancel."""

    q: float
    is_stable: bool


def fixed_points(drift: Drift, num_points: int = 4001) -> list[FixedPoint]:
    """The fixed points in (0, 1) around the danger zone, in order, each with its stability.

    Brackets are looked for between `num_points` logits from -14 to 14 and refined by Brent's
    method, so that two roots closer than 0.007 in the logit can be missed.
    """
    grid = expit(np.linspace(-14, 14, num_points))
    value = drift(grid)
    # A root that lies on the grid is bracketed by its neighbours.
    grid, value = grid[value != 0], value[value != 0]
    found = []
    for index in np.flatnonzero(np.sign(value[:-1]) * np.sign(value[1:]) < 0):
        root = brentq(lambda q: float(drift(q)), grid[index], grid[index + 1], xtol=1e-15)
        found.append(FixedPoint(float(root), bool(value[index] > 0)))
    return found


def boundary(drift: Drift) -> float | None:
    """The probability from which on the action runs away to 1, the true edge of the danger zone.

    Returns:
        0 where it runs away from everywhere, None where from nowhere.
    """
    points = fixed_points(drift)
    if not points:
        return 0.0 if float(drift(0.5)) > 0 else None
    return None if points[-1].is_stable else points[-1].q


def constant_roots(push: float, risk: float) -> tuple[float, float] | None:
    """Both fixed points of a constant push against q r (1 - q), None outside of a danger zone.

    They are `(1 -+ sqrt(1 - 4 c / r)) / 2`, and there are none for c > r / 4.
    """
    inside = 1 - 4 * push / risk
    if inside < 0:
        return None
    return (1 - np.sqrt(inside)) / 2, (1 + np.sqrt(inside)) / 2


def follow_action(
    drift: Drift,
    start: ArrayLike,
    num_steps: int,
    step_size: float = 1.0,
    *,
    max_move: float | None = None,
) -> Floats:
    """Follow the flawed action in and out of the danger zone: f64[num_steps + 1, ...] of q.

    Its logit moves by `step_size` times the drift, the others' logits stay.

    Args:
        start: of any shape that broadcasts with the fields of `drift`.
        max_move: steps are as long as it takes for the logit to move by this much, whatever
            `step_size` says: the same way in less time where the drift is weak.
    """
    first = np.asarray(start, float)
    position = np.asarray(logit(first))
    path = [first + np.zeros_like(drift(first))]
    for _ in range(num_steps):
        pull = drift(path[-1])
        move = step_size * pull if max_move is None else max_move * np.sign(pull)
        # Beyond this the probability would be 0 or 1 in float64, from where no step leads back.
        position = np.clip(position + move, -30, 30)
        path.append(np.asarray(expit(position)))
    return np.stack(path)


def runs_away(drift: Drift, start: ArrayLike) -> NDArray[np.bool_]:
    """Whether a flawed action that starts in the danger zone ends above 0.999, beyond its far end.

    It is followed in steps of 0.02 in the logit, so that it settles next to a fixed point.
    """
    return np.asarray(follow_action(drift, start, 800, max_move=0.02)[-1] > 0.999)


def speed(q: ArrayLike, r: float) -> Floats:
    """How fast a flawed action in the danger zone becomes rarer: q (1 - q) times its pull.

    The safe regime by this measure peaks where the force does, but is no parabola.
    """
    prob = np.asarray(q, float)
    return np.asarray(prob * (1 - prob) * prob * (1 - prob) * r)

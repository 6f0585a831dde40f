"""Three actions and more under softmax: the squeezing effect of RM's Theorem 3.2, computed.

The failure rate of each action is fixed. What the paper calls p, r and the third action's risk are
averages under the policy and are computed anew at every step. Logits move by `step_size` times the
joint advantage of each action, which is the gradient of the success rate.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from declutch.coupling.theory.advantage import (
    POPULATION,
    Estimator,
    Floats,
    joint_advantages,
)


@dataclass(frozen=True)
class Scene:
    """RM's scene of three actions as the paper states it; many scenes where fields are arrays.

    Attributes:
        q, r: probability and risk of action 1, beyond the mean failure rate of the other two.
        q_hat, r_hat: the same of action 2.
        p: failure rate without action 1.
    """

    q: Floats
    r: Floats
    q_hat: Floats
    r_hat: Floats
    p: Floats

    @property
    def policy(self) -> Floats:
        """The three actions' probabilities, f64[..., 3]."""
        return np.stack([self.q, self.q_hat, 1 - self.q - self.q_hat], -1)

    @property
    def failure(self) -> Floats:
        """The three actions' failure rates, f64[..., 3]."""
        third = -self.q_hat * self.r_hat / (1 - self.q - self.q_hat)
        return np.stack([self.p + self.r, self.p + self.r_hat, self.p + third], -1)

    @property
    def is_valid(self) -> NDArray[np.bool_]:
        """Whether these are three positive probabilities and three failure rates."""
        rates, policy = self.failure, self.policy
        return np.asarray(((policy > 0) & (rates >= 0) & (rates <= 1)).all(-1))

    def select(self, where: ArrayLike) -> Scene:
        """The scenes of an array of scenes at an index or where a mask is set."""
        index = np.asarray(where)
        return Scene(*(np.asarray(getattr(self, each.name))[index] for each in fields(self)))

    def as_numbers(self) -> dict[str, float]:
        """One scene's fields and third risk by name, for a counterexample."""
        third = float(self.failure[..., 2] - self.p)
        return {each.name: float(getattr(self, each.name)) for each in fields(self)} | {
            "r_third": third
        }


def make_scene(q: float, r: float, q_hat: float, r_hat: float, p: float) -> Scene:
    """One scene of three actions from plain numbers.

    Raises:
        ValueError: not three positive probabilities and three failure rates in [0, 1].
    """
    if not (q > 0 and q_hat > 0 and q + q_hat < 1):
        raise ValueError(f"q = {q:g}, q_hat = {q_hat:g} and 1 - q - q_hat have to be positive")
    scene = Scene(*(np.asarray(each, dtype=np.float64) for each in (q, r, q_hat, r_hat, p)))
    if not scene.is_valid:
        rates = ", ".join(f"{rate:g}" for rate in scene.failure)
        raise ValueError(f"failure rates {rates} have to be in [0, 1]")
    return scene


def scene_of(policy: ArrayLike, failure: ArrayLike) -> Scene:
    """The scene of three actions that policies and fixed failure rates, [..., 3] each, come to."""
    q, q_hat, rest = np.moveaxis(np.asarray(policy, float), -1, 0)
    rates = np.asarray(failure, float)
    p = (q_hat * rates[..., 1] + rest * rates[..., 2]) / (q_hat + rest)
    return Scene(q, rates[..., 0] - p, q_hat, rates[..., 1] - p, p)


def softmax(logits: ArrayLike) -> Floats:
    """Probabilities of the actions that have these logits, over the last axis."""
    shifted = np.asarray(logits, float)
    shifted = np.exp(shifted - shifted.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def step(
    logits: Floats, failure: Floats, step_size: float, estimator: Estimator = POPULATION
) -> Floats:
    """One exact softmax step of three actions, or V: logits [..., V] move by joint advantages."""
    return logits + step_size * joint_advantages(softmax(logits), failure, estimator)


def follow(
    policy: ArrayLike,
    failure: ArrayLike,
    num_steps: int,
    step_size: float,
    estimator: Estimator = POPULATION,
) -> Floats:
    """Follow three actions, or V, along exact softmax steps: f64[num_steps + 1, ..., V]."""
    logits = np.log(np.asarray(policy, float))
    rates = np.asarray(failure, float)
    path = [softmax(logits)]
    for _ in range(num_steps):
        logits = step(logits, rates, step_size, estimator)
        path.append(softmax(logits))
    return np.stack(path)


def first_order(policy: ArrayLike, failure: ArrayLike) -> Floats:
    """Of three actions, or V: each one's relative change per unit step, J_i - sum_j pi_j J_j."""
    probabilities = np.asarray(policy, float)
    pull = joint_advantages(probabilities, failure)
    return np.asarray(pull - (probabilities * pull).sum(-1, keepdims=True))


def printed_condition(scene: Scene) -> Floats:
    """What RM's Theorem 3.2 prints that is to be >= 0 where action 1's probability increases."""
    q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
    return (2 * q_hat - 1) * q_hat * r_hat + 2 * (q_hat + q - 1) * q * r


def corrected_condition(scene: Scene) -> Floats:
    """What is positive exactly where an infinitesimal step raises action 1 of three actions.

    RM's own derivation with its difference A2 - A3 put right; divided by nothing.
    """
    q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
    return (2 * q_hat + q - 1) * q_hat * r_hat - 2 * q * r * (
        (1 - q) ** 2 - q_hat * (1 - q) + q_hat**2
    )


def gap_condition(scene: Scene) -> Floats:
    """Growth of the log-odds of action 3 over action 1 among three actions, per unit step."""
    return (2 - 2 * scene.q - scene.q_hat) * scene.q * scene.r + scene.q_hat * scene.r_hat


def draw_scenes(num: int, generator: np.random.Generator, *, has_risks: bool = True) -> Scene:
    """Draw scenes of three actions at random, all that have these probabilities and failure rates.

    Args:
        num: how many are drawn before those without risks are left out.
        has_risks: only those with r > 0 and r_hat > 0, as the theorem assumes.
    """
    scene = scene_of(generator.dirichlet(np.full(3, 0.7), num), generator.random((num, 3)))
    is_kept = scene.is_valid
    if has_risks:
        is_kept = is_kept & (scene.r > 0) & (scene.r_hat > 0)
    return scene.select(is_kept)

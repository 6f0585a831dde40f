"""The expected advantage of an action, by exact enumeration over the groups it can be sampled in.

Setting: an episode takes one of V actions with the probabilities of a policy; it fails with a rate
that depends on the action alone, earns 0 then and 1 otherwise; a group is G such episodes. An
advantage is centred by the group's mean and, in GRPO, divided by its standard deviation.

Everything follows from one number, the *gain* D: the expected advantage of an episode that succeeds
less that of one that fails, over what the other G - 1 episodes of its group may do. The others'
rewards do not depend on one's own action, so the advantage of action i, given that it is taken, is
`(f - F_i) D` with F_i its failure rate and f the policy's. Times the action's probability it is the
joint expectation E[A 1{action i}], which is also the pull on the action's logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb
from scipy.stats import binom

from declutch.credit.segments import STD_EPSILON

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimator:
    """How an advantage is made of a group's rewards, for exact expectations of it.

    Attributes:
        group_size: G >= 2 episodes, or None for infinitely many (mean and deviation are those of
            the policy itself).
        std_norm: divided by the group's unbiased standard deviation plus 1e-6, as in GRPO.
        is_leave_one_out: the mean is that of the other episodes, as in RLOO.
    """

    group_size: int | None = None
    std_norm: bool = False
    is_leave_one_out: bool = False

    def __post_init__(self) -> None:
        if self.group_size is not None and self.group_size < 2:
            raise ValueError(f"a group of {self.group_size} has no expected advantage but 0")
        if self.std_norm and self.is_leave_one_out:
            raise ValueError("RLOO divides by no standard deviation")


POPULATION = Estimator()
"""Mean of the policy itself, no standard deviation: the setting of the papers' Lemma 3.1."""


def gain(failure: ArrayLike, estimator: Estimator = POPULATION) -> Floats:
    """The gain D: expected advantage of a success less that of a failure, in a random group.

    Args:
        failure: the policy's failure rate f in [0, 1], any shape.
    Returns:
        D, of the same shape: 1 for a population mean and for RLOO, (G - 1) / G for a group's mean,
        1 / sqrt(f (1 - f)) with the population's deviation (infinite at f = 0 and 1).
    """
    rate = np.asarray(failure, dtype=np.float64)
    if estimator.is_leave_one_out:
        return np.ones_like(rate)
    if estimator.group_size is None:
        if not estimator.std_norm:
            return np.ones_like(rate)
        with np.errstate(divide="ignore"):
            return np.asarray(1 / np.sqrt(rate * (1 - rate)))
    success, lost = group_advantages(estimator)
    return np.asarray(_binomial(estimator.group_size - 1, 1 - rate) @ (success - lost))


def _binomial(num: int, chance: Floats) -> Floats:
    """Probabilities of 0 to `num` successes, [..., num + 1]."""
    count = np.arange(num + 1)
    if num > 60:
        return np.asarray(binom.pmf(count, num, chance[..., None]))
    # Powers are an order of magnitude faster, and as exact for few.
    powers = chance[..., None] ** count * (1 - chance[..., None]) ** (num - count)
    return np.asarray(comb(num, count) * powers)


def group_advantages(estimator: Estimator) -> tuple[Floats, Floats]:
    """Expected advantage's summands: of a success and of a failure, by successes among the others.

    Returns:
        Two arrays f64[G], entry k for k successes among the other G - 1 episodes of the group;
        exactly 0 where all rewards of the group are equal.
    """
    size = estimator.group_size
    if size is None:
        raise ValueError("a population has no groups to enumerate")
    others = np.arange(size, dtype=np.float64)
    found = []
    for own in (1.0, 0.0):
        mean = (others + own) / size
        value = own - (others / (size - 1) if estimator.is_leave_one_out else mean)
        if estimator.std_norm:
            spread = np.sqrt(size / (size - 1) * mean * (1 - mean))
            value = np.where((mean == 0) | (mean == 1), 0.0, value / (spread + STD_EPSILON))
        found.append(value)
    return found[0], found[1]


def joint_advantages(
    policy: ArrayLike, failure: ArrayLike, estimator: Estimator = POPULATION
) -> Floats:
    """Theory of the group advantage: E[A 1{action i}] of each action, f64[..., V].

    Args:
        policy: [..., V] probabilities that sum to 1.
        failure: [..., V] failure rates F_i in [0, 1].
    """
    probabilities = np.asarray(policy, dtype=np.float64)
    return probabilities * conditional_advantages(probabilities, failure, estimator)


def conditional_advantages(
    policy: ArrayLike, failure: ArrayLike, estimator: Estimator = POPULATION
) -> Floats:
    """Expected advantage E[A | action i] of each action where it is taken: (f - F_i) D."""
    probabilities = np.asarray(policy, dtype=np.float64)
    rates = np.asarray(failure, dtype=np.float64)
    mean = (probabilities * rates).sum(-1)
    return (mean[..., None] - rates) * gain(mean, estimator)[..., None]


def risky_action(
    q: ArrayLike, p: ArrayLike, r: ArrayLike, estimator: Estimator = POPULATION
) -> Floats:
    """Expected joint advantage E[A 1{action}] of an action with risk r: -q (1 - q) r D.

    Args:
        q: probability of the action, in [0, 1].
        p: failure rate without it; r: what it adds; p + r is in [0, 1].
    Returns:
        Of the arguments' common shape.
    Source: GC and RM, Lemma 3.1, which print q r (q - 1), this value with D = 1.
    """
    prob, base, risk = (np.asarray(each, dtype=np.float64) for each in (q, p, r))
    return np.asarray(-prob * (1 - prob) * risk * gain(base + prob * risk, estimator))


def peak(p: float, r: float, estimator: Estimator = POPULATION, num_points: int = 20001) -> float:
    """Theory of the group advantage: the probability at which a risky action's is largest in size.

    Found on an even grid of `num_points` in (0, 1), so good to 1 / num_points.
    """
    grid = np.linspace(0, 1, num_points)[1:-1]
    return float(grid[np.abs(risky_action(grid, p, r, estimator)).argmax()])


def require_risk(p: float, r: float) -> None:
    """Refuse a risky action without failure rates: expected advantages need p and p + r in [0, 1].

    Raises:
        ValueError: they are not.
    """
    if not is_valid_risk(p, r).all():
        raise ValueError(f"p = {p:g} and p + r = {p + r:g} have to be failure rates in [0, 1]")


def is_valid_risk(p: ArrayLike, r: ArrayLike) -> NDArray[np.bool_]:
    """Whether p and p + r are failure rates at all, for the expected advantage of risky actions."""
    base, raised = np.asarray(p), np.asarray(p) + np.asarray(r)
    return np.asarray((base >= 0) & (base <= 1) & (raised >= 0) & (raised <= 1))


def enumerate_groups(
    policy: Sequence[float], failure: Sequence[float], estimator: Estimator
) -> Floats:
    """Expected joint advantages by enumeration of every group of actions and rewards: f64[V].

    It visits (2 V)^G groups and exists to check the formula; use small groups.
    """
    size = estimator.group_size
    if size is None:
        raise ValueError("a population has no groups to enumerate")
    probabilities, rates = np.asarray(policy, float), np.asarray(failure, float)
    # An outcome of an episode is (action, reward); a group is a tuple of outcomes.
    num = 2 * len(probabilities)
    chance = np.stack([probabilities * rates, probabilities * (1 - rates)], -1).reshape(num)
    index = np.indices((num,) * size).reshape(size, -1)
    weight = chance[index].prod(0)
    reward = (index % 2).astype(np.float64)
    won = reward.sum(0)
    success, lost = group_advantages(estimator)
    others = (won - reward).astype(int)
    advantage = np.where(reward == 1, success[others], lost[others])
    action = index // 2
    return np.array(
        [(weight * np.where(action == i, advantage, 0).mean(0)).sum() for i in range(num // 2)]
    )

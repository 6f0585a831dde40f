"""A flawed action that may occur at every step of an episode, and what its occurrences earn.

All steps of an episode have the episode's advantage. What an action's occurrences sum up to is then
a covariance of their number with the episode's success, and its sign is that of the difference of
the number in successes and in failures. Exact by the distribution of the number of occurrences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from declutch.coupling.theory.advantage import POPULATION, Estimator, Floats, gain


@dataclass(frozen=True)
class Occurrences:
    """How often a flawed action occurs in an episode, how long that is, and how likely success.

    Attributes:
        chance: [K] probability of each case. count: [K] occurrences in it. length: [K] steps.
        success: [K] probability of success in it.
    """

    chance: Floats
    count: Floats
    length: Floats
    success: Floats

    @property
    def failure(self) -> float:
        """The policy's failure rate."""
        return float(1 - self.chance @ self.success)

    def mean_in(self, values: Floats, *, is_won: bool) -> float:
        """Mean of a number per episode over the flawed action's won or lost episodes."""
        outcome = self.success if is_won else 1 - self.success
        return float(self.chance @ (outcome * values) / (self.chance @ outcome))

    def share_of_steps(self, *, is_won: bool) -> float:
        """Share of the steps of won or lost episodes that are occurrences of the flawed action."""
        return self.mean_in(self.count, is_won=is_won) / self.mean_in(self.length, is_won=is_won)


def additive_risk(q: float, p: float, r: float, steps: int) -> Occurrences:
    """Occurrences at each of `steps` steps with probability q, each adding r to the failure rate p.

    Raises:
        ValueError: p + steps * r is no failure rate.
    """
    if not 0 <= p + steps * r <= 1 or not 0 <= p <= 1:
        raise ValueError(f"p + {steps} r = {p + steps * r:g} is no failure rate")
    count = np.arange(steps + 1.0)
    return _independent(q, steps, 1 - p - count * r)


def compounding_risk(q: float, p: float, r: float, steps: int) -> Occurrences:
    """Occurrences at each of `steps` steps with probability q, each surviving with 1 - r."""
    return _independent(q, steps, (1 - p) * (1 - r) ** np.arange(steps + 1.0))


def wasted_steps(q: float, needed: int, limit: int) -> Occurrences:
    """Occurrences that only waste a step: an episode ends won after `needed` other steps.

    It ends lost after `limit` steps in all. The action has no risk of its own but the time.
    """
    wasted = np.arange(limit - needed + 1)
    # Won with w wasted steps: the last step is the one still needed.
    won = binom.pmf(wasted, needed - 1 + wasted, q) * (1 - q)
    lost_count = np.arange(limit - needed + 1, limit + 1)
    lost = binom.pmf(lost_count, limit, q)
    return Occurrences(
        chance=np.concatenate([won, lost]),
        count=np.concatenate([wasted, lost_count]).astype(np.float64),
        length=np.concatenate([needed + wasted, np.full(len(lost), limit)]).astype(np.float64),
        success=np.concatenate([np.ones(len(won)), np.zeros(len(lost))]),
    )


def two_lengths(won: tuple[int, int], lost: tuple[int, int], failure: float) -> Occurrences:
    """Occurrences where every won episode is alike and every lost one is: (occurrences, steps)."""
    return Occurrences(
        chance=np.array([1 - failure, failure]),
        count=np.array([won[0], lost[0]], float),
        length=np.array([won[1], lost[1]], float),
        success=np.array([1.0, 0.0]),
    )


def total_advantage(case: Occurrences, estimator: Estimator = POPULATION) -> float:
    """Expected sum of the advantages of all occurrences in an episode, with episode statistics.

    It is the covariance of the number of occurrences with success, times the gain.
    """
    excess = case.success - (1 - case.failure)
    return float(case.chance @ (case.count * excess) * gain(case.failure, estimator))


def total_advantage_by_steps(case: Occurrences) -> float:
    """The same of all occurrences where the group's mean is taken over its steps, not episodes.

    For infinitely many episodes, without a standard deviation.
    """
    steps = case.chance @ case.length
    mean = case.chance @ (case.length * case.success) / steps
    return float(case.chance @ (case.count * (case.success - mean)))


def two_lengths_in_groups(case: Occurrences, group_size: int, *, by_steps: bool) -> float:
    """Occurrences in finite groups: the sum of `two_lengths`, with the group's own mean.

    No standard deviation; the mean is taken over steps or over episodes of the group.
    """
    others = np.arange(group_size)
    chance = binom.pmf(others, group_size - 1, case.chance[0])
    total = 0.0
    for own, own_chance in enumerate(case.chance):
        won = others + (1 - own)
        lost = group_size - won
        weights = case.length if by_steps else np.ones(2)
        mean = won * weights[0] / (won * weights[0] + lost * weights[1])
        total += own_chance * case.count[own] * float(chance @ (case.success[own] - mean))
    return total


def _independent(q: float, steps: int, success: Floats) -> Occurrences:
    count = np.arange(steps + 1.0)
    length = np.full(steps + 1, float(steps))
    return Occurrences(binom.pmf(count, steps, q), count, length, np.asarray(success, float))

"""Simulated groups: episodes with known probabilities and risks, credited by `credit` itself.

The exact numbers of the theory stand beside what the functions that training uses make of groups
that were drawn by chance. A simulated episode has steps that are flawed or not and ends won or
lost; advantages are those of `credit.grpo` and `credit.rloo`. Expectations are averages over
occurrences of an action, with standard errors over groups, which are independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from declutch.config.algorithm import GRPOConfig, RLOOConfig
from declutch.coupling.theory.advantage import Estimator, Floats
from declutch.credit.grpo import grpo
from declutch.credit.rloo import rloo
from declutch.records import StepTable

NUM_GROUPS = 20_000
"""Groups of a simulation; a mean over occurrences is then good to about 0.002."""


@dataclass(frozen=True)
class Estimate:
    """A mean over simulated groups and its standard error, which is 0 where nothing varied."""

    mean: float
    error: float

    def z(self, exact: float) -> float:
        """How many standard errors the mean lies from the exact value."""
        if self.error == 0:
            return 0.0 if self.mean == exact else float("inf")
        return (self.mean - exact) / self.error


@dataclass(frozen=True)
class Groups:
    """Simulated groups of one-step episodes: which action each took, and whether it was won.

    Attributes:
        action: i64[N, G]. reward: f64[N, G], 1 for a won episode, else 0.
    """

    action: NDArray[np.int64]
    reward: Floats


def draw_groups(
    policy: ArrayLike,
    failure: ArrayLike,
    group_size: int,
    num_groups: int,
    generator: np.random.Generator,
) -> Groups:
    """Draw simulated groups of one-step episodes.

    Args:
        policy: [V], or [N, V] with a policy for each group. failure: [V] or [N, V] rates.
    """
    shape = (num_groups, np.asarray(policy).shape[-1])
    policies = np.broadcast_to(np.asarray(policy, float), shape)
    rates = np.broadcast_to(np.asarray(failure, float), shape)
    chance = generator.random((num_groups, group_size))
    action = (chance[..., None] > policies.cumsum(-1)[:, None, :-1]).sum(-1)
    fails = generator.random((num_groups, group_size)) < np.take_along_axis(rates, action, 1)
    return Groups(action, (~fails).astype(np.float64))


def credited(groups: Groups, estimator: Estimator) -> Floats:
    """Advantages of simulated groups' episodes by `credit`'s own functions: f64[N, G]."""
    size = groups.reward.shape[1]
    if size != estimator.group_size:
        raise ValueError(f"groups of {size} episodes, not {estimator.group_size}")
    length = np.ones(groups.reward.size, dtype=np.int64)
    table = step_table(groups.reward, length)
    return credit_steps(table, estimator).numpy().astype(np.float64).reshape(groups.reward.shape)


def step_table(reward: Floats, length: NDArray[np.int64]) -> StepTable:
    """The step table that credit functions read, of simulated groups.

    Args:
        reward: [N, G] of whole episodes, earned at the last step. length: i64[N * G] steps >= 1.
    """
    num_groups, size = reward.shape
    num = torch.from_numpy(length)
    episode = torch.arange(num_groups * size).repeat_interleave(num)
    start = num.cumsum(0) - num
    position = torch.arange(len(episode)) - start[episode]
    returns = torch.from_numpy(reward.reshape(-1)).float()
    is_last = position == num[episode] - 1
    zeros, true = torch.zeros_like(episode), torch.ones_like(episode, dtype=torch.bool)
    return StepTable(
        group=episode // size,
        episode=episode,
        position=position,
        anchor=zeros,
        action=zeros,
        tag=zeros - 1,
        reward=returns[episode] * is_last,
        is_valid=true,
        is_admissible=true,
        is_won=returns[episode] == 1,
        num_tokens=torch.ones_like(episode),
    )


def credit_steps(table: StepTable, estimator: Estimator, *, by_steps: bool = False) -> Tensor:
    """Advantages f32[S] of simulated groups' steps, by the function of `credit` for an estimator.

    Args:
        by_steps: statistics over a group's steps (`algorithm.group_stats=steps`) instead of its
            episodes.
    """
    stats: Literal["episodes", "steps"] = "steps" if by_steps else "episodes"
    if estimator.is_leave_one_out:
        return rloo(table, None, RLOOConfig(group_stats=stats))
    return grpo(table, None, GRPOConfig(std_norm=estimator.std_norm, group_stats=stats))


def joint_estimate(groups: Groups, advantage: Floats, action: int) -> Estimate:
    """Mean of A 1{action} over the episodes of simulated groups."""
    return mean_of(np.where(groups.action == action, advantage, 0).mean(1))


def conditional_estimate(groups: Groups, advantage: Floats, action: int) -> Estimate:
    """Mean advantage over the occurrences of an action in simulated groups (a ratio of means)."""
    taken = groups.action == action
    return ratio_of(np.where(taken, advantage, 0).sum(1), taken.sum(1).astype(np.float64))


def mean_of(values: Floats) -> Estimate:
    """Mean and standard error of one number per simulated group."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def ratio_of(totals: Floats, counts: Floats) -> Estimate:
    """Sum over sum of two numbers per simulated group; its error is the linearised ratio's."""
    if not counts.sum():
        return Estimate(float("nan"), float("nan"))
    ratio = totals.sum() / counts.sum()
    rest = (totals - ratio * counts) / counts.mean()
    return Estimate(float(ratio), float(rest.std(ddof=1) / np.sqrt(len(rest))))

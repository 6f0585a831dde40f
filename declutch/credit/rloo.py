"""Leave-one-out advantages (RLOO)."""

from __future__ import annotations

import torch
from torch import Tensor

from declutch.config.algorithm import RLOOConfig
from declutch.credit.registry import Method
from declutch.credit.segments import find_segments, segment_mean, segment_sum
from declutch.records import Probes, StepTable


def rloo(table: StepTable, probes: Probes | None, config: RLOOConfig) -> Tensor:
    """RLOO's advantage of each step: its episode's return less the mean of the group's others.

    `R_e - mean of the others = W / (W - w_e) * (R_e - mean)` with weights w that sum to W: 1 for
    every episode, or its number of steps.

    Args:
        table: S steps sorted by (group, episode, position).
        probes: not used.
        config: `group_stats` takes the means over episodes or over steps.
    Returns:
        f32[S], in units of the return; exactly 0 where all returns of a group are equal or it is a
        singleton.
    Source: Kool et al. 2019; Ahmadian et al. 2024 (arXiv:2402.14740), section 3. verl's function
        has samples for episodes and gives a singleton its return; otherwise it is equal.
    """
    episodes = find_segments(table.episode)
    returns = segment_sum(table.reward, episodes)  # [E]
    groups = find_segments(table.group[episodes.start])
    weight = episodes.size if config.group_stats == "steps" else torch.ones_like(episodes.size)
    total = segment_sum(weight, groups)[groups.index]  # [E]
    deviation = returns - segment_mean(returns, groups, weight)[groups.index]
    # A singleton deviates by 0; any divisor will do.
    advantage = deviation * total / (total - weight).clamp(min=1)
    return advantage[episodes.index].float()


RLOO = Method("RLOO", RLOOConfig, rloo)

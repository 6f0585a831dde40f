"""Group-relative advantages (GRPO, Dr.GRPO)."""

from __future__ import annotations

from torch import Tensor

from declutch.config.algorithm import GRPOConfig
from declutch.credit.registry import Method
from declutch.credit.segments import centre, find_segments, segment_sum
from declutch.records import Probes, StepTable


def grpo(table: StepTable, probes: Probes | None, config: GRPOConfig) -> Tensor:
    """GRPO's advantage of each step: `(R_e - mean) / (std + 1e-6)` of its episode e in its group.

    Args:
        table: S steps sorted by (group, episode, position).
        probes: not used.
        config: `group_stats` takes mean and std over a group's episodes or over its steps;
            `std_norm` false leaves the std out (Dr.GRPO).
    Returns:
        f32[S], unitless; exactly 0 where all returns of a group are equal or it is a singleton.
    Source: Shao et al. 2024 (arXiv:2402.03300), section 4.1.2; Liu et al. 2025 (arXiv:2503.20783)
        for Dr.GRPO. The std is unbiased. verl's function has samples for episodes and gives a
        singleton its return; otherwise it is equal.
    """
    episodes = find_segments(table.episode)
    returns = segment_sum(table.reward, episodes)  # [E]
    if config.group_stats == "episodes":
        groups = find_segments(table.group[episodes.start])
        return centre(returns, groups, config.std_norm)[episodes.index].float()
    return centre(returns[episodes.index], find_segments(table.group), config.std_norm).float()


GRPO = Method("GRPO", GRPOConfig, grpo)

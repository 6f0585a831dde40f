"""Group-in-group advantages (GiGPO): an episode term plus a term of equal states."""

from __future__ import annotations

from torch import Tensor

from declutch.config.algorithm import GiGPOConfig, GRPOConfig
from declutch.credit.grpo import grpo
from declutch.credit.registry import Method
from declutch.credit.segments import centre_by_id, discounted_return, find_segments
from declutch.records import Probes, StepTable


def gigpo(table: StepTable, probes: Probes | None, config: GiGPOConfig) -> Tensor:
    """GiGPO's advantage: return against the group, plus discounted return against the same state.

    Steps of one group with the same current observation form an anchor group, whichever episodes
    they are of; a state met twice in an episode counts twice. The step term of a step is
    `sum over k >= t of gamma^(k-t) r_k` less its anchor group's mean.

    Args:
        table: S steps sorted by (group, episode, position).
        probes: not used.
        config: `mode` divides both terms by their std or neither; `gamma` per environment step;
            `step_weight` of the step term; `group_stats` of the episode term.
    Returns:
        f32[S]; the step term is exactly 0 in an anchor group of one.
    Source: Feng et al. 2025 (arXiv:2505.10978), eq. 3-8.
    """
    divide_by_std = config.mode == "mean_std_norm"
    episode_term = grpo(
        table, None, GRPOConfig(std_norm=divide_by_std, group_stats=config.group_stats)
    )
    to_come = discounted_return(table.reward, find_segments(table.episode), config.gamma)
    step_term = centre_by_id(to_come, table.anchor, divide_by_std)
    return episode_term + config.step_weight * step_term.float()


GIGPO = Method("GiGPO", GiGPOConfig, gigpo, similarity=lambda config: config.similarity)

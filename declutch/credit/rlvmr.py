"""Advantages with verifiable rewards of the reasoning a step names (RLVMR)."""

from __future__ import annotations

from torch import Tensor

from declutch.config.algorithm import GRPOConfig, RLVMRConfig
from declutch.credit.grpo import grpo
from declutch.credit.registry import Method
from declutch.credit.segments import centre_by_id, find_segments
from declutch.records import META_TAGS, Probes, StepTable

PLANNING, EXPLORE, REFLECTION, MONITOR = range(len(META_TAGS))


def rlvmr(table: StepTable, probes: Probes | None, config: RLVMRConfig) -> Tensor:
    """RLVMR's advantage: return against the group, and meta-reward against steps with the same tag.

    The step term is `(r - mean) / (std + 1e-6)` of the meta-rewards r over all steps of one group
    that carry the same tag, whichever episodes they are of.

    Args:
        table: S steps sorted by (group, episode, position).
        probes: not used.
        config: "mix" gives `alpha * episode + (1 - alpha) * step`, "sum" gives
            `episode + step_weight * step`; `group_stats` of the episode term.
    Returns:
        f32[S], unitless; the step term is exactly 0 where a tag's meta-rewards are all equal in a
        group or there is but one, and where a step has no tag.
    Source: Zhang et al. 2025 (arXiv:2507.22844) for "mix", its published code for "sum". The std
        is unbiased.
    """
    episode_term = grpo(table, None, GRPOConfig(group_stats=config.group_stats))
    # Steps without a tag share the id -1 and earn nothing, so that theirs is 0.
    group_and_tag = table.group * (len(META_TAGS) + 1) + table.tag
    step_term = centre_by_id(meta_reward(table), group_and_tag, divide_by_std=True).float()
    if config.combine == "sum":
        return episode_term + config.step_weight * step_term
    return config.alpha * episode_term + (1 - config.alpha) * step_term


def meta_reward(table: StepTable) -> Tensor:
    """RLVMR's meta-reward of what each step's reasoning tag promised, f32[S] of 0 and 1.

    Planning earns where the episode is won; exploring with an action that no valid response took
    earlier in the episode; reflecting with another action than the step before, where that one's
    was invalid or unavailable (so never at an episode's first step); monitoring never.
    """
    is_earned = (
        ((table.tag == PLANNING) & table.is_won)
        | ((table.tag == EXPLORE) & _is_new(table))
        | ((table.tag == REFLECTION) & _is_recovery(table))
    )
    return (is_earned & table.is_valid).float()


def _is_new(table: StepTable) -> Tensor:
    """bool[S]: the first valid response of its episode with this action."""
    episode_and_action = table.episode * len(table) + table.action
    rows = table.is_valid.nonzero()[:, 0]
    in_time = rows[episode_and_action[rows].argsort(stable=True)]
    is_new = table.is_valid.new_zeros(len(table))
    is_new[in_time[find_segments(episode_and_action[in_time]).start]] = True
    return is_new


def _is_recovery(table: StepTable) -> Tensor:
    """bool[S]: another action than the step before, which failed."""
    has_failed = ~(table.is_valid & table.is_admissible)
    is_other = table.action != table.action.roll(1)
    return (table.position > 0) & has_failed.roll(1) & is_other


RLVMR = Method("RLVMR", RLVMRConfig, rlvmr)

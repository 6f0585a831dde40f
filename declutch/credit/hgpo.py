"""Hierarchy-of-groups advantages (HGPO): returns against groups of ever longer equal histories."""

from __future__ import annotations

import torch
from torch import Tensor

from declutch.config.algorithm import HGPOConfig
from declutch.credit.registry import Method
from declutch.credit.segments import STD_EPSILON, centre_by_id, discounted_return, find_segments
from declutch.records import Probes, StepTable

_WEIGHT_EPSILON = 1e-6
"""What the sum of a step's weights is increased by before they are divided by it."""
_AT_THE_MEAN = 1e-9
"""How far from its mean a return may be by rounding alone, so that its level has no weight."""


def hgpo(table: StepTable, probes: Probes | None, config: HGPOConfig) -> Tensor:
    """HGPO's advantage: returns against steps with the same history, for histories of each length.

    At level k a step is compared with the steps of its group whose current observation and the
    k - 1 before it are the same, whichever episodes they are of. A step's advantages of its levels
    are averaged with weights `(k + 1)^length_weight`; a level in which the step stands alone, or
    exactly at the mean, has no weight. There is no term for the episode as a whole.

    Args:
        table: S steps sorted by (group, episode, position).
        probes: not used.
        config: `history_length` observations before the current one, so that k goes from 1 to
            `history_length + 1`; `mode` divides by the deviation or not; `gamma` per environment
            step.
    Returns:
        f32[S].
    Source: He et al. 2026 (arXiv:2602.22817), eq. 4-8, and the published function: the deviation is
        the population's, and levels of advantage zero are left out of the weights. Differs: sums
        are float64 here, so that rounding makes no level count.
    """
    to_come = discounted_return(table.reward, find_segments(table.episode), config.gamma)
    total = torch.zeros(len(table), dtype=torch.float64)
    weights = torch.zeros(len(table), dtype=torch.float64)
    context = table.anchor
    for level in range(1, config.history_length + 2):
        if level > 1:
            context = _extend(context, table.anchor)
        rows = (table.position >= level - 1).nonzero().squeeze(1)
        advantage = centre_by_id(to_come[rows], context[rows], divide_by_std=False)
        if config.mode == "mean_std_norm":
            advantage = advantage / (_deviation(advantage, context[rows]) + STD_EPSILON)
        weight = (advantage.abs() > _AT_THE_MEAN).double() * (level + 1) ** config.length_weight
        total.index_add_(0, rows, weight * advantage)
        weights.index_add_(0, rows, weight)
    return (total / (weights + _WEIGHT_EPSILON)).float()


def _extend(context: Tensor, anchor: Tensor) -> Tensor:
    """Number histories that are one observation longer: the row before's, and the current one.

    The first row has none before it and gets one that nothing shares; rows at the beginning of an
    episode are never asked for.
    """
    pairs = torch.stack([torch.roll(context, 1), anchor], dim=1)
    return torch.unique(pairs, dim=0, return_inverse=True)[1]


def _deviation(centred: Tensor, ids: Tensor) -> Tensor:
    """The population's standard deviation of each row's segment, f64[S]."""
    _, index, size = torch.unique(ids, return_inverse=True, return_counts=True)
    square = torch.zeros(len(size), dtype=torch.float64).index_add(0, index, centred.square())
    return (square / size).sqrt()[index]


HGPO = Method("HGPO", HGPOConfig, hgpo)

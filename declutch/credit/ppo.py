"""Advantages from a critic (PPO): generalised advantage estimation over a response's tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from declutch.config.algorithm import PPOConfig
from declutch.credit.registry import CriticNeeds, Method
from declutch.credit.segments import (
    STD_EPSILON,
    Segments,
    discounted_return,
    find_segments,
    segment_sum,
)
from declutch.credit.table import step_of_token
from declutch.records import Probes, StepTable


def ppo(table: StepTable, probes: Probes | None, config: PPOConfig) -> Tensor:
    """PPO's advantage of each token: what it gained over the critic's expectation, by GAE.

    Every step is a sequence of its own, whose last token is given the return of the episode.

    Args:
        table: S steps sorted by (group, episode, position), with K response tokens in all.
        probes: `values` f32[K].
        config: `gamma` and `lam` per token; `whiten` divides what is left after the mean over all
            K tokens by their std.
    Returns:
        f32[K], in units of the return, or unitless when whitened; 0 then where all are equal.
    Source: Schulman et al. 2016 (arXiv:1506.02438), eq. 16; Schulman et al. 2017
        (arXiv:1707.06347). The whitening is that of the papers' code base.
    """
    advantage, _ = _estimate(table, probes, config)
    if not config.whiten:
        return advantage
    deviation = advantage.double() - advantage.double().mean()
    std = (deviation.square().sum() / max(len(deviation) - 1, 1)).sqrt()
    return (deviation / (std + STD_EPSILON)).float()


def value_targets(table: StepTable, probes: Probes | None, config: PPOConfig) -> Tensor:
    """What PPO's critic is to learn, f32[K]: its old values plus unwhitened advantages."""
    _, returns = _estimate(table, probes, config)
    return returns


def gae(
    values: Tensor, rewards: Tensor, segments: Segments, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """PPO's generalised advantage estimation (GAE) over segments of tokens.

    Nothing follows a segment.
    `delta_t = r_t + gamma V_{t+1} - V_t`; the advantage is the sum of `(gamma lam)^l delta_{t+l}`.

    Args:
        values, rewards: [K], each segment in order of time.
        segments: the sequences.
        gamma, lam: per token, in [0, 1].
    Returns:
        Advantages f32[K] and returns f32[K], which are the advantages plus the values.
    """
    expected = values.double()
    following = expected.roll(-1)
    following[segments.start + segments.size - 1] = 0
    delta = torch.add(rewards.double(), following, alpha=gamma).sub_(expected)
    advantage = discounted_return(delta, segments, gamma * lam)
    return advantage.float(), (advantage + expected).float()


def _estimate(table: StepTable, probes: Probes | None, config: PPOConfig) -> tuple[Tensor, Tensor]:
    if probes is None or probes.values is None:
        raise ValueError("PPO needs the critic's values")
    episodes = find_segments(table.episode)
    returns = segment_sum(table.reward, episodes)[episodes.index]  # [S]
    step = step_of_token(table)
    tokens = find_segments(step)
    last = tokens.start + tokens.size - 1
    rewards = torch.zeros(len(step), dtype=torch.float64)
    rewards[last] = returns[step[last]]
    return gae(probes.values, rewards, tokens, config.gamma, config.lam)


PPO = Method(
    "PPO",
    PPOConfig,
    ppo,
    probes=("values",),
    is_per_token=True,
    critic=CriticNeeds(
        targets=value_targets,
        # Ten times the policy's, as in the code base of the papers.
        learning_rate=lambda config, rate: config.critic_lr or 10 * rate,
        warmup=lambda config: config.critic_warmup,
        value_clip=lambda config: config.value_clip,
    ),
)

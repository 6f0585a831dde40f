"""The clipped policy loss with a divergence from a reference; pure, knows no algorithm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from declutch.config.algorithm import LossConfig
from declutch.records import TokenBatch

MAX_LOG_RATIO = 20.0
"""Log-ratios are cut here: exp(20) is far outside any clip range, exp(90) overflows."""


@dataclass(frozen=True)
class LossStats:
    """What the policy loss reports of a batch's tokens: clipped, capped, divergence.

    Attributes:
        num_tokens: how many there are.
        kl: k3 estimates of the divergence from the reference, in nats; 0 where none is asked for.
        num_clipped: tokens whose ratio was clipped, i.e. that get no gradient from the advantage.
        num_capped: tokens whose importance weight hit the cap.
    """

    num_tokens: int = 0
    kl: float = 0.0
    num_clipped: int = 0
    num_capped: int = 0


def loss_normalizer(
    num_tokens: int, num_sequences: int, config: LossConfig, max_response_tokens: int
) -> float:
    """What a mini-batch's summed policy loss is divided by, for each way of aggregation.

    Args:
        num_tokens: response tokens of the whole mini-batch.
        num_sequences: samples of the whole mini-batch.
        config: `aggregation` decides.
        max_response_tokens: the constant length of "seq-mean-token-sum-norm".
    """
    if config.aggregation == "token-mean":
        return float(max(num_tokens, 1))
    if config.aggregation == "seq-mean-token-mean":
        return float(max(num_sequences, 1))
    return float(max(num_sequences, 1) * max_response_tokens)


def policy_loss(
    logprobs: Tensor, batch: TokenBatch, config: LossConfig, normalizer: float
) -> tuple[Tensor, LossStats]:
    """The clipped policy loss with its divergence term, on one micro-batch of a mini-batch.

    Per token `-w min(r A, clip(r, 1 - low, 1 + high) A) + kl_coef (exp(d) - d - 1)` with r the
    ratio of the policy to the old policy, of the token or the geometric mean over its response
    (`config.ratio`), d = ref - policy log-probability, and
    w = min(old / sample, cap) the truncated importance weight, which is 1 where the old
    log-probabilities are the sampling engine's own.

    Args:
        logprobs: f32[B, L] of the policy, on any device.
        batch: B x L tokens.
        config: clip range, KL weight, importance cap, aggregation.
        normalizer: from `loss_normalizer` of the whole mini-batch, so that the losses of its
            micro-batches add up to the mini-batch's.
    Returns:
        The differentiable loss, a scalar, and the batch's statistics.
    Source: Schulman et al. 2017 (arXiv:1707.06347), eq. 7; the mean ratio from Zheng et al. 2025
        (arXiv:2507.18071, GSPO), eq. 5-7, as in trl; verl's gradient is that of the paper's token
        variant, which differs where a response's tokens have unequal advantages or weights. k3
        from Schulman, "Approximating KL divergence"; truncated importance sampling from Ionides
        2008.
    """
    mask = batch.response_mask
    policy = logprobs[mask.to(logprobs.device)]  # [N]
    advantage, old, sample = (
        field[mask].to(policy.device)
        for field in (batch.advantage, batch.old_logprobs, batch.sample_logprobs)
    )
    ratio = _bounded_exp(_log_ratio(policy - old, batch, config))
    plain = -ratio * advantage
    clipped = -ratio.clamp(1 - config.clip_low, 1 + config.clip_high) * advantage
    importance = _bounded_exp(old - sample)
    loss = importance.clamp(max=config.importance_cap) * torch.maximum(plain, clipped)
    kl = torch.zeros_like(policy)
    if config.kl_coef > 0:
        kl = k3_divergence(policy, batch.ref_logprobs[mask].to(policy.device))
        loss = loss + config.kl_coef * kl
    weight = _token_weight(batch, config).to(policy.device)
    stats = LossStats(
        num_tokens=policy.numel(),
        kl=float(kl.detach().sum()),
        num_clipped=int((clipped > plain).sum()),
        num_capped=int((importance > config.importance_cap).sum()),
    )
    return (weight * loss).sum() / normalizer, stats


def k3_divergence(policy: Tensor, reference: Tensor) -> Tensor:
    """The policy loss's divergence, KL(policy || reference) per token by the k3 estimator."""
    difference = (reference - policy).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return difference.exp() - difference - 1


def _token_weight(batch: TokenBatch, config: LossConfig) -> Tensor:
    """f32[N], weight of each response token before the normaliser."""
    mask = batch.response_mask
    if config.aggregation != "seq-mean-token-mean":
        return torch.ones(int(mask.sum()))
    response, size = _responses(batch)
    return 1 / size[response].float()


def _log_ratio(log_ratio: Tensor, batch: TokenBatch, config: LossConfig) -> Tensor:
    """[N] -> [N]: each token's own, or its response's mean for all its tokens."""
    if config.ratio == "token":
        return log_ratio
    response, size = (field.to(log_ratio.device) for field in _responses(batch))
    total = log_ratio.new_zeros(len(size)).index_add(0, response, log_ratio)
    return (total / size.clamp(min=1))[response]


def _responses(batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """i64[N] number of each response token's response, and i64[M] tokens of each number."""
    mask = batch.response_mask
    row = torch.arange(len(mask))[:, None].expand(mask.shape)
    response = (row * mask.shape[1] + batch.segment_ids)[mask]
    return response, response.bincount()


def _bounded_exp(log_ratio: Tensor) -> Tensor:
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()

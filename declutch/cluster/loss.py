"""The cluster's policy loss: rows with a weight for every token, so that ranks can share a step.

A rank sees a part of a mini-batch, and a pass a part of that. What a token counts for in the whole
mini-batch, by its role's own normaliser, is therefore written beside it before the rows are handed
out: the losses of all passes on all ranks then add up to `agent + gcd.weight * judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from declutch.config.algorithm import LossConfig

MAX_LOG_RATIO = 20.0
"""Log-ratios are cut here, as in the learner of one GPU."""
SUMS = ("loss", "kl", "num_clipped", "num_capped")
"""What a pass reports of each role, summed over its tokens."""


@dataclass(frozen=True)
class Row:
    """A row that the cluster learns from: one step's prompt and its response of T tokens.

    Attributes:
        prompt_ids: i64[P], P >= 1.
        response_ids: i64[T], T >= 1.
        is_judge: it is a judgment, and not the agent's own step.
        advantage, sample_logprobs, old_logprobs: f32[T].
        ref_logprobs: f32[T], or None where no divergence from a reference is asked for.
    """

    prompt_ids: Tensor
    response_ids: Tensor
    is_judge: bool
    advantage: Tensor
    sample_logprobs: Tensor
    old_logprobs: Tensor
    ref_logprobs: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        return self.prompt_ids.numel() + self.response_ids.numel()


def role_weights(
    rows: Sequence[Row], config: LossConfig, max_response_tokens: int, weight: float = 1.0
) -> list[Tensor]:
    """What each token of the cluster's rows of one role counts for in its mini-batch, f32[T] each.

    Args:
        rows: all rows of the role in the mini-batch, on whichever rank they will be.
        config: `aggregation` decides.
        max_response_tokens: the constant length of "seq-mean-token-sum-norm".
        weight: of the role's loss.
    """
    num_tokens = sum(row.response_ids.numel() for row in rows)
    found = []
    for row in rows:
        size = row.response_ids.numel()
        if config.aggregation == "token-mean":
            share = 1 / num_tokens
        elif config.aggregation == "seq-mean-token-mean":
            share = 1 / (len(rows) * size)
        else:
            share = 1 / (len(rows) * max_response_tokens)
        found.append(torch.full((size,), weight * share))
    return found


def deal(sizes: Sequence[int], num_ranks: int) -> list[int | None]:
    """Deal a mini-batch's rows to the cluster's ranks, so that each has about as many tokens.

    Args:
        sizes: tokens of each row.
    Returns:
        Indices in the order of the ranks, equally many for each and at least one; None where a
        rank gets an empty row to fill up.
    """
    order: list[int | None] = [*sorted(range(len(sizes)), key=lambda index: -sizes[index])]
    order += [None] * (-len(order) % num_ranks if order else num_ranks)
    hands: list[list[int | None]] = [[] for _ in range(num_ranks)]
    for turn in range(0, len(order), num_ranks):
        # Every other turn goes backwards, since the first of a turn has the longest row.
        cards = order[turn : turn + num_ranks]
        for rank, card in enumerate(cards if turn // num_ranks % 2 == 0 else cards[::-1]):
            hands[rank].append(card)
    return [card for hand in hands for card in hand]


@dataclass(frozen=True)
class LossFields:
    """What the cluster's loss reads of B rows with up to T response tokens, padded on the right.

    Attributes:
        mask: bool[B, T], the response tokens.
        weight: f32[B, T], by `role_weights`; 0 for rows that fill up.
        is_judge: bool[B, T].
        advantage, old_logprobs, sample_logprobs: f32[B, T].
        ref_logprobs: f32[B, T], or None.
    """

    mask: Tensor
    weight: Tensor
    is_judge: Tensor
    advantage: Tensor
    old_logprobs: Tensor
    sample_logprobs: Tensor
    ref_logprobs: Tensor | None


def weighted_loss(
    logprobs: Tensor, fields: LossFields, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The cluster's policy loss of one pass on one rank; all of a mini-batch's add up to its loss.

    Per token `weight * (w min(r A, clip(r) A) + kl_coef k3)`, with the letters of
    `learner/loss.py`, whose gradient it has.

    Args:
        logprobs: f32[B, T] of the policy; what stands outside of the mask is ignored.
    Returns:
        The differentiable sum, and by "agent/..." and "judge/..." what `SUMS` names; the losses in
        it are weighted.
    """
    mask = fields.mask
    policy = torch.where(mask, logprobs, 0.0)
    old, sample = (torch.where(mask, x, 0.0) for x in (fields.old_logprobs, fields.sample_logprobs))
    log_ratio = policy - old
    if config.ratio == "sequence":
        size = mask.sum(dim=1, keepdim=True).clamp(min=1)
        log_ratio = (log_ratio.sum(dim=1, keepdim=True) / size).expand_as(log_ratio)
    ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    plain = -ratio * fields.advantage
    clipped = -ratio.clamp(1 - config.clip_low, 1 + config.clip_high) * fields.advantage
    importance = (old - sample).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    loss = importance.clamp(max=config.importance_cap) * torch.maximum(plain, clipped)
    kl = torch.zeros_like(policy)
    if config.kl_coef > 0 and fields.ref_logprobs is not None:
        gap = torch.where(mask, fields.ref_logprobs, 0.0) - policy
        gap = gap.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        kl = gap.exp() - gap - 1
        loss = loss + config.kl_coef * kl
    # What fills up is left out of the sum, rather than multiplied by 0.
    is_real = mask & (fields.weight > 0)
    parts = torch.where(is_real, fields.weight * loss, 0.0)
    counted = {
        "loss": parts.detach(),
        "kl": kl.detach(),
        "num_clipped": (clipped > plain).float(),
        "num_capped": (importance > config.importance_cap).float(),
    }
    sums = {
        f"{role}/{name}": torch.where(is_real & chosen, counted[name], 0.0).sum()
        for role, chosen in (("agent", ~fields.is_judge), ("judge", fields.is_judge))
        for name in SUMS
    }
    return parts.sum(), sums


def verl_loss(
    model_output: Any, data: Any, dp_group: Any = None, *, config: LossConfig
) -> tuple[Tensor, dict[str, Any]]:
    """The cluster's loss as verl's workers call it, on one pass of one rank.

    Args:
        model_output: its "log_probs" are of whole sequences, nested.
        data: verl's TensorDict of the pass, with the fields that `batch.py` wrote.
        dp_group: not asked.
        config: bound before the function is handed to verl.
    """
    from verl.utils.metric import AggregationType, Metric
    from verl.workers.utils.padding import no_padding_2_padding

    del dp_group
    logprobs = no_padding_2_padding(model_output["log_probs"], data)
    names = ["response_mask", "loss_weight", "is_judge", "advantages"]
    names += ["old_log_probs", "rollout_log_probs"]
    has_reference = "ref_log_prob" in data
    padded = data.select(*names, *(["ref_log_prob"] if has_reference else [])).to_padded_tensor()
    fields = LossFields(
        mask=padded["response_mask"].bool(),
        weight=padded["loss_weight"],
        is_judge=padded["is_judge"].bool(),
        advantage=padded["advantages"],
        old_logprobs=padded["old_log_probs"],
        sample_logprobs=padded["rollout_log_probs"],
        ref_logprobs=padded["ref_log_prob"] if has_reference else None,
    )
    loss, sums = weighted_loss(logprobs, fields, config)
    # verl takes the mean over ranks, of gradients and of what is reported alike.
    scale = data["dp_size"]
    metrics = {
        f"declutch/{name}": Metric(value=value * scale, aggregation=AggregationType.SUM)
        for name, value in sums.items()
    }
    return loss * scale, metrics

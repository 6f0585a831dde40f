"""Samples to token batches: one sample per row, right-padded, rows of similar length together.

Rows that start at column 0 and are padded on the right need no attention mask at all under causal
attention, which is the fastest path for short samples; the padding computes, weighs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from declutch.learner.samples import Sample
from declutch.records import TokenBatch

NO_STEP = -1


def pack(
    samples: Sequence[Sample], token_budget: int, pad_id: int, vocab_size: int
) -> list[TokenBatch]:
    """Batches that hold every sample once, longest first.

    Args:
        samples: any order; equal lengths keep theirs.
        token_budget: B x L at most, padding included; a longer sample is a batch of its own.
        pad_id: token of the padding.
        vocab_size: V, width of the action mask.
    Raises:
        ValueError: a sampled token that its own action mask forbids.
    """
    ordered = sorted(samples, key=lambda sample: -sample.num_tokens)
    batches = []
    start = 0
    while start < len(ordered):
        rows = max(1, token_budget // ordered[start].num_tokens)
        batches.append(_build_batch(ordered[start : start + rows], pad_id, vocab_size))
        start += rows
    return batches


def _build_batch(samples: Sequence[Sample], pad_id: int, vocab_size: int) -> TokenBatch:
    shape = (len(samples), samples[0].num_tokens)
    prompt = torch.tensor([sample.prompt_ids.numel() for sample in samples])
    length = torch.tensor([sample.num_tokens for sample in samples])
    column = torch.arange(shape[1]).expand(shape)  # [B, L]
    is_token = column < length[:, None]
    is_response = is_token & (column >= prompt[:, None])

    def per_token(values: list[Tensor], mask: Tensor, fill: float, dtype: torch.dtype) -> Tensor:
        out = torch.full(shape, fill, dtype=dtype)
        out[mask] = torch.cat(values).to(dtype)
        return out

    def per_row(values: list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype)[:, None].expand(shape)

    token_ids = [part for sample in samples for part in (sample.prompt_ids, sample.response_ids)]
    ref = [_reference(sample) for sample in samples]
    input_ids = per_token(token_ids, is_token, pad_id, torch.int64)
    step_id = per_row([sample.step_id for sample in samples], torch.int64)
    segment_id = per_row(list(range(len(samples))), torch.int64)
    return TokenBatch(
        input_ids=input_ids,
        position_ids=column,
        segment_ids=torch.where(is_token, segment_id, -1),
        response_mask=is_response,
        advantage=per_token([s.advantage for s in samples], is_response, 0, torch.float32),
        sample_logprobs=per_token(
            [s.sample_logprobs for s in samples], is_response, 0, torch.float32
        ),
        old_logprobs=per_token([s.old_logprobs for s in samples], is_response, 0, torch.float32),
        ref_logprobs=per_token(ref, is_response, 0, torch.float32),
        role=per_row([sample.role for sample in samples], torch.int8),
        step_id=torch.where(is_token, step_id, NO_STEP),
        allowed_mask=_allowed_mask(samples, input_ids, vocab_size),
    )


def _reference(sample: Sample) -> Tensor:
    # Not a number where there is none: a loss that reads it by mistake cannot go unnoticed.
    if sample.ref_logprobs is None:
        return torch.full_like(sample.old_logprobs, float("nan"))
    return sample.ref_logprobs


def _allowed_mask(
    samples: Sequence[Sample], input_ids: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    masked = [
        (row, sample.prompt_ids.numel() + offset, allowed)
        for row, sample in enumerate(samples)
        for offset, allowed in enumerate(sample.allowed_ids)
        if allowed is not None
    ]
    if not masked:
        return None
    rows = torch.tensor([row for row, _, _ in masked])
    columns = torch.tensor([column for _, column, _ in masked])
    sizes = torch.tensor([len(allowed) for *_, allowed in masked])
    token_ids = torch.tensor(list(chain.from_iterable(allowed for *_, allowed in masked)))
    mask = torch.zeros(len(masked), vocab_size, dtype=torch.bool)
    mask[torch.arange(len(masked)).repeat_interleave(sizes), token_ids] = True
    forbidden = ~mask.gather(1, input_ids[rows, columns, None])[:, 0]
    if bool(forbidden.any()):
        first = int(forbidden.nonzero()[0])
        sample = samples[int(rows[first])]
        raise ValueError(
            f"step {sample.step_id}: token {int(input_ids[rows[first], columns[first]])} was "
            "sampled but its action mask forbids it"
        )
    return rows, columns, mask

"""Samples to token batches: rows of similar length together, padded on the right.

A row is a prompt and its response. Samples whose prompts begin alike may share one row: the
common beginning is then computed once, and each sample sees it and its own tokens. Rows without
sharing need no attention mask at all, since under causal attention nothing sees the padding to its
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from declutch.learner.rows import Row, shared_rows, single_rows
from declutch.learner.samples import Sample
from declutch.records import TokenBatch

PADDING = -1
SHARED_SEGMENT = 0
"""`segment_ids` of what a row's samples share; their own tokens are 1, 2, ..."""


def pack(
    samples: Sequence[Sample],
    token_budget: int,
    pad_id: int,
    vocab_size: int,
    break_even: float | None = None,
) -> list[TokenBatch]:
    """Pack the learner's samples into padded batches of bounded tokens, long rows first.

    Args:
        samples: any order; equal lengths keep theirs.
        token_budget: B x L at most, padding included; a longer sample is a batch of its own.
        pad_id: token of the padding.
        vocab_size: V, width of the action mask.
        break_even: row length at which attention costs as much as everything else, which decides
            how many samples share a row; None gives each sample its own.
    Raises:
        ValueError: a sampled token that its own action mask forbids.
    """
    if break_even is None:
        rows = single_rows(samples)
    else:
        rows = shared_rows(samples, token_budget, break_even)
    batches = []
    for is_shared in (False, True):
        kind = [row for row in rows if (len(row.samples) > 1) == is_shared]
        kind.sort(key=lambda row: -row.length)
        start = 0
        while start < len(kind):
            stop = start + max(1, token_budget // kind[start].length)
            batches.append(_build_batch(kind[start:stop], pad_id, vocab_size))
            start = stop
    return batches


@dataclass(frozen=True)
class _Part:
    """Adjacent tokens of a row that have everything but the tokens in common."""

    token_ids: Tensor
    position: int
    segment: int
    sample: Sample
    is_response: bool


def _build_batch(rows: Sequence[Row], pad_id: int, vocab_size: int) -> TokenBatch:
    shape = (len(rows), rows[0].length)
    length = torch.tensor([row.length for row in rows])
    is_token = torch.arange(shape[1]) < length[:, None]  # [B, L]
    parts = [part for row in rows for part in _split(row)]
    size = torch.tensor([part.token_ids.numel() for part in parts])
    samples = [part.sample for part in parts if part.is_response]

    def spread(values: Tensor, mask: Tensor, fill: int) -> Tensor:
        return torch.full(shape, fill, dtype=values.dtype).masked_scatter(mask, values)

    def per_part(values: list[int], fill: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return spread(torch.tensor(values, dtype=dtype).repeat_interleave(size), is_token, fill)

    def per_response(values: list[Tensor]) -> Tensor:
        return spread(torch.cat(values).float(), is_response, 0)

    def of_critic(values: list[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return per_response(present) if present else None

    token_ids = torch.cat([part.token_ids for part in parts])
    start = torch.tensor([part.position for part in parts]) - (size.cumsum(0) - size)
    position = start.repeat_interleave(size) + torch.arange(token_ids.numel())
    is_response = per_part([part.is_response for part in parts], 0, torch.bool)
    return TokenBatch(
        input_ids=spread(token_ids, is_token, pad_id),
        position_ids=spread(position, is_token, 0),
        segment_ids=per_part([part.segment for part in parts], PADDING),
        response_mask=is_response,
        advantage=per_response([sample.advantage for sample in samples]),
        sample_logprobs=per_response([sample.sample_logprobs for sample in samples]),
        old_logprobs=per_response([sample.old_logprobs for sample in samples]),
        ref_logprobs=per_response([_reference(sample) for sample in samples]),
        role=per_part([part.sample.role for part in parts], 0, torch.int8),
        step_id=per_part([part.sample.step_id for part in parts], PADDING),
        allowed_mask=_allowed_mask(samples, is_response, vocab_size),
        returns=of_critic([sample.returns for sample in samples]),
        old_values=of_critic([sample.old_values for sample in samples]),
    )


def _split(row: Row) -> list[_Part]:
    """The shared beginning, which counts as the first sample's; then each sample's own tokens."""
    shared, first = row.num_shared, row.samples[0]
    parts = [_Part(first.prompt_ids[:shared], 0, SHARED_SEGMENT, first, False)]
    for segment, sample in enumerate(row.samples, start=SHARED_SEGMENT + 1):
        prompt = sample.prompt_ids
        parts.append(_Part(prompt[shared:], shared, segment, sample, False))
        parts.append(_Part(sample.response_ids, prompt.numel(), segment, sample, True))
    return parts


def _reference(sample: Sample) -> Tensor:
    # Not a number where there is none: a loss that reads it by mistake cannot go unnoticed.
    if sample.ref_logprobs is None:
        return torch.full_like(sample.old_logprobs, float("nan"))
    return sample.ref_logprobs


def _allowed_mask(
    samples: Sequence[Sample], is_response: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The action masks of samples whose response tokens lie, in order, at `is_response`."""
    allowed = [ids for sample in samples for ids in _allowed_by_token(sample)]
    masked = [index for index, ids in enumerate(allowed) if ids is not None]
    if not masked:
        return None
    sets = [ids for ids in allowed if ids is not None]
    size = torch.tensor([len(ids) for ids in sets])
    mask = torch.zeros(len(sets), vocab_size, dtype=torch.bool)
    mask[
        torch.arange(len(sets)).repeat_interleave(size),
        torch.tensor(list(chain.from_iterable(sets))),
    ] = True
    row, column = (place[torch.tensor(masked)] for place in is_response.nonzero(as_tuple=True))
    return row, column, mask


def _allowed_by_token(sample: Sample) -> Sequence[tuple[int, ...] | None]:
    tokens = sample.response_ids.tolist()
    if not sample.allowed_ids:
        return [None] * len(tokens)
    for token, allowed in zip(tokens, sample.allowed_ids, strict=True):
        if allowed is not None and token not in allowed:
            raise ValueError(
                f"step {sample.step_id}: token {token} was sampled but its action mask forbids it"
            )
    return sample.allowed_ids

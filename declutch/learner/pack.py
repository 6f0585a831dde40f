"""Samples to token batches: rows of similar length together, padded on the right.

A row is a prompt and its response. Responses to the same prompt may share one row: the prompt is
then computed once, and each response sees the prompt and itself. Rows without sharing need no
attention mask at all, since under causal attention nothing sees the padding to its right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from declutch.learner.samples import Sample
from declutch.records import TokenBatch

PADDING = -1
PROMPT_SEGMENT = 0
"""`segment_ids` of a prompt; a row's responses are 1, 2, ..."""

Row = tuple[Sample, ...]


def pack(
    samples: Sequence[Sample],
    token_budget: int,
    pad_id: int,
    vocab_size: int,
    share_prompts: bool = False,
) -> list[TokenBatch]:
    """Batches that hold every sample once, long rows first.

    Args:
        samples: any order; equal lengths keep theirs.
        token_budget: B x L at most, padding included; a longer sample is a batch of its own.
        pad_id: token of the padding.
        vocab_size: V, width of the action mask.
        share_prompts: put responses to the same prompt into one row, as far as the budget lets
            and together they are no longer than the prompt (attention grows with the square).
    Raises:
        ValueError: a sampled token that its own action mask forbids.
    """
    rows = _share(samples, token_budget) if share_prompts else [(sample,) for sample in samples]
    batches = []
    for is_shared in (False, True):
        kind = [row for row in rows if (len(row) > 1) == is_shared]
        kind.sort(key=lambda row: -_row_length(row))
        start = 0
        while start < len(kind):
            stop = start + max(1, token_budget // _row_length(kind[start]))
            batches.append(_build_batch(kind[start:stop], pad_id, vocab_size))
            start = stop
    return batches


def _row_length(row: Row) -> int:
    return row[0].prompt_ids.numel() + sum(sample.response_ids.numel() for sample in row)


def _share(samples: Sequence[Sample], token_budget: int) -> list[Row]:
    by_prompt: dict[tuple[int, ...], list[Sample]] = {}
    for sample in samples:
        by_prompt.setdefault(tuple(sample.prompt_ids.tolist()), []).append(sample)
    rows: list[Row] = []
    for prompt, members in by_prompt.items():
        room = min(len(prompt), token_budget - len(prompt))
        row: list[Sample] = []
        used = 0
        for sample in members:
            used += sample.response_ids.numel()
            if row and used > room:
                rows.append(tuple(row))
                row, used = [], sample.response_ids.numel()
            row.append(sample)
        rows.append(tuple(row))
    return rows


def _build_batch(rows: Sequence[Row], pad_id: int, vocab_size: int) -> TokenBatch:
    shape = (len(rows), _row_length(rows[0]))
    prompt = torch.tensor([row[0].prompt_ids.numel() for row in rows])
    length = torch.tensor([_row_length(row) for row in rows])
    column = torch.arange(shape[1]).expand(shape)  # [B, L]
    is_token = column < length[:, None]
    is_response = is_token & (column >= prompt[:, None])
    samples = [sample for row in rows for sample in row]

    def spread(values: Tensor, mask: Tensor, fill: float) -> Tensor:
        return torch.full(shape, fill, dtype=values.dtype).masked_scatter(mask, values)

    def per_response(values: list[Tensor]) -> Tensor:
        return spread(torch.cat(values).float(), is_response, 0)

    # A piece is a prompt or a response: (length, first position, segment, sample).
    pieces = [piece for row in rows for piece in _pieces(row)]
    size = torch.tensor([piece[0] for piece in pieces])
    first = torch.tensor([piece[1] for piece in pieces]) - (size.cumsum(0) - size)

    def per_piece(values: list[int], dtype: torch.dtype, fill: int) -> Tensor:
        return spread(torch.tensor(values, dtype=dtype).repeat_interleave(size), is_token, fill)

    token_ids = torch.cat([part for row in rows for part in _token_parts(row)])
    position = first.repeat_interleave(size) + torch.arange(token_ids.numel())
    return TokenBatch(
        input_ids=spread(token_ids, is_token, pad_id),
        position_ids=spread(position, is_token, 0),
        segment_ids=per_piece([piece[2] for piece in pieces], torch.int64, PADDING),
        response_mask=is_response,
        advantage=per_response([sample.advantage for sample in samples]),
        sample_logprobs=per_response([sample.sample_logprobs for sample in samples]),
        old_logprobs=per_response([sample.old_logprobs for sample in samples]),
        ref_logprobs=per_response([_reference(sample) for sample in samples]),
        role=per_piece([piece[3].role for piece in pieces], torch.int8, 0),
        step_id=per_piece([piece[3].step_id for piece in pieces], torch.int64, PADDING),
        allowed_mask=_allowed_mask(rows, vocab_size),
    )


def _pieces(row: Row) -> list[tuple[int, int, int, Sample]]:
    prompt = row[0].prompt_ids.numel()
    responses = [
        (sample.response_ids.numel(), prompt, index, sample)
        for index, sample in enumerate(row, start=PROMPT_SEGMENT + 1)
    ]
    return [(prompt, 0, PROMPT_SEGMENT, row[0]), *responses]


def _token_parts(row: Row) -> list[Tensor]:
    return [row[0].prompt_ids, *(sample.response_ids for sample in row)]


def _reference(sample: Sample) -> Tensor:
    # Not a number where there is none: a loss that reads it by mistake cannot go unnoticed.
    if sample.ref_logprobs is None:
        return torch.full_like(sample.old_logprobs, float("nan"))
    return sample.ref_logprobs


def _allowed_mask(rows: Sequence[Row], vocab_size: int) -> tuple[Tensor, Tensor, Tensor] | None:
    masked = []
    for index, row in enumerate(rows):
        start = row[0].prompt_ids.numel()
        for sample in row:
            tokens = sample.response_ids.tolist()
            for offset, allowed in enumerate(sample.allowed_ids):
                if allowed is None:
                    continue
                if tokens[offset] not in allowed:
                    raise ValueError(
                        f"step {sample.step_id}: token {tokens[offset]} was sampled but its "
                        "action mask forbids it"
                    )
                masked.append((index, start + offset, allowed))
            start += len(tokens)
    if not masked:
        return None
    size = torch.tensor([len(allowed) for *_, allowed in masked])
    token_ids = torch.tensor(list(chain.from_iterable(allowed for *_, allowed in masked)))
    mask = torch.zeros(len(masked), vocab_size, dtype=torch.bool)
    mask[torch.arange(len(masked)).repeat_interleave(size), token_ids] = True
    place = torch.tensor([(index, column) for index, column, _ in masked])
    return place[:, 0], place[:, 1], mask

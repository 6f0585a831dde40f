"""Log-probabilities of the response tokens of a batch, from any Hugging Face causal LM.

Notation: B x L batch, N response tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from declutch.learner.pack import SHARED_SEGMENT
from declutch.models.capabilities import (
    capabilities,
    check_length,
    last_feed_forward,
    text_config,
)
from declutch.models.checkpointing import is_checkpointing
from declutch.models.precision import compute_dtype, computing
from declutch.records import TokenBatch

BREAK_EVEN_PER_HIDDEN = 2.0
"""Operations alone give 6: a layer multiplies a token with 12 D^2 weights, and adds up 2 L D
products of queries with keys and of weights with values. Measured on a CPU, attention is three
times slower an operation."""


def token_logprobs(
    model: nn.Module, batch: TokenBatch, temperature: float
) -> tuple[Tensor, Tensor]:
    """Compute by a forward pass the log-probability and entropy of each response token.

    Both are under the token's action mask.

    Args:
        model: a causal LM with the Hugging Face interface.
        batch: rows start at column 0 and are padded on the right (see `pack`).
        temperature: > 0; what the responses were sampled at.
    Returns:
        f32[B, L] log-probabilities (differentiable) and f32[B, L] entropies in nats (not);
        0 outside the response.
    """
    device = next(model.parameters()).device
    row, column = batch.response_mask.nonzero(as_tuple=True)
    target = batch.input_ids[row, column].to(device)
    raw = _read_out(model, batch, row, _predictor(batch, row, column), device)
    logits = raw.to(torch.promote_types(raw.dtype, torch.float32)) / temperature  # [N, V]
    if batch.allowed_mask is not None:
        logits = logits.masked_fill(_disallowed(batch, logits), float("-inf"))
    log_softmax = torch.log_softmax(logits, dim=-1)
    logprobs = log_softmax.gather(1, target[:, None])[:, 0]
    with torch.no_grad():
        # A masked token has log-probability -inf and probability 0: their product counts as 0.
        entropy = -(log_softmax.exp() * log_softmax.clamp(min=-1e9)).sum(-1)
    blank = logits.new_zeros(batch.input_ids.shape)
    place = (row.to(device), column.to(device))
    return blank.index_put(place, logprobs), blank.index_put(place, entropy)


def response_values(model: nn.Module, batch: TokenBatch) -> Tensor:
    """One forward pass of a critic in the learner: the value before each response token, f32[N]."""
    row, column = batch.response_mask.nonzero(as_tuple=True)
    device = next(model.parameters()).device
    return _read_out(model, batch, row, _predictor(batch, row, column), device)[:, 0].float()


def response_logits(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Compute by a forward pass the model's own logits [N, V] that predict each response token.

    Rows are in the order of the batch; only these places are read out.
    """
    row, column = batch.response_mask.nonzero(as_tuple=True)
    device = next(model.parameters()).device
    return _read_out(model, batch, row, _predictor(batch, row, column), device)


def response_hidden(model: Any, batch: TokenBatch) -> Tensor:
    """Compute by a forward pass the hidden state that predicts each response token, f32[N, D]."""
    row, column = batch.response_mask.nonzero(as_tuple=True)
    place = _predictor(batch, row, column)
    device = next(model.parameters()).device
    given: list[Tensor] = []
    handle = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: given.append(args[0])
    )
    try:
        _read_out(model, batch, row, place, device)
    finally:
        handle.remove()
    return given[0][row.to(device), place.to(device)].float()


def example_logits(
    model: Any, input_ids: Tensor, place: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Compute by a forward pass the logits after given tokens of supervised examples.

    Args:
        input_ids: i64[B, L] on the model's device, rows padded on the right.
        place: rows and columns i64[N] of the tokens.
    Returns:
        The model's own logits f32[N, V], scaled and capped as its architecture does it; and the
        hidden states [B, L, D] that they are read from.
    """
    given: list[Tensor] = []
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    try:
        with computing(model), _computing_only(model, place, feed_forward=False):
            # Right padding under causal attention needs no mask.
            logits: Tensor = model(input_ids=input_ids, use_cache=False).logits
    finally:
        handle.remove()
    return logits[0].float(), given[0]


def vocabulary_size(model: Any) -> int:
    """How many logits V the learner's forward pass gives for a token."""
    head = model.get_output_embeddings()
    if head is not None:
        return int(head.weight.shape[0])
    return int(text_config(model).vocab_size)


def sharing_break_even(model: Any) -> float | None:
    """Up to which length of rows the learner's forward pass is faster with shared prompts.

    At that length attention costs as much as everything else. None is for models whose capability
    record says that they cannot compute several samples after one beginning.
    """
    if not capabilities(model).can_share_rows:
        return None
    return BREAK_EVEN_PER_HIDDEN * float(text_config(model).hidden_size)


def _predictor(batch: TokenBatch, row: Tensor, column: Tensor) -> Tensor:
    """i64[N], the column that predicts each response token: the one before it in its response,
    or the last that its row's samples share."""
    segment = batch.segment_ids
    shared_end = (segment == SHARED_SEGMENT).sum(dim=1) - 1
    is_first = segment[row, column] != segment[row, column - 1]
    return torch.where(is_first, shared_end[row], column - 1)


def _attention_mask(segment: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, 1, L, L], added to the scores: a token sees its own sample so far and what is shared.

    Padding sees what is shared and padding, so that its softmax stays finite; nothing sees it.
    """
    query, key = segment[:, None, :, None], segment[:, None, None, :]
    is_seen = ((query == key) | (key == SHARED_SEGMENT)).tril()
    return torch.zeros(is_seen.shape, dtype=dtype).masked_fill(~is_seen, torch.finfo(dtype).min)


def _disallowed(batch: TokenBatch, logits: Tensor) -> Tensor:
    """bool[N, V], true where the action mask forbids a token."""
    assert batch.allowed_mask is not None
    row, column, allowed = batch.allowed_mask
    slot = torch.zeros_like(batch.input_ids)
    slot[batch.response_mask] = torch.arange(len(logits))
    disallowed = torch.zeros_like(logits, dtype=torch.bool)
    disallowed[slot[row, column].to(logits.device)] = ~allowed.to(logits.device)
    return disallowed


def _read_out(
    model: Any, batch: TokenBatch, row: Tensor, column: Tensor, device: torch.device
) -> Tensor:
    """Logits [N, V] at the N given places."""
    # What follows the last place predicts nothing that is asked for.
    width = int(column.max()) + 1 if column.numel() else 1
    check_length(model, int(batch.position_ids[:, :width].max()) + 1)
    place = (row.to(device), column.to(device))
    inputs = {"input_ids": batch.input_ids[:, :width].to(device)}
    if bool((batch.segment_ids > SHARED_SEGMENT + 1).any()):
        mask = _attention_mask(batch.segment_ids[:, :width], compute_dtype(model))
        inputs["attention_mask"] = mask.to(device)
        inputs["position_ids"] = batch.position_ids[:, :width].to(device)
    with computing(model), _computing_only(model, place) as limited:
        logits: Tensor = model(**inputs, use_cache=False).logits
    # Shapes do not tell: as many places as the row has tokens may be others than all of them.
    return logits[0] if limited else logits[place]


@contextmanager
def _computing_only(
    model: Any, place: tuple[Tensor, Tensor], feed_forward: bool = True
) -> Iterator[list[nn.Module]]:
    """Inside the block the model's logits are [1, N, V], of N places of the batch only.

    What it yields is empty as long as that has not happened.

    After the last attention tokens do not meet again: the last feed-forward network, where it is
    found under the usual names, and the read-out are handed those places alone. What the
    architecture does to the logits (scaling, soft-capping) stays in its own code.

    Args:
        feed_forward: whether the last feed-forward network is, or the read-out alone.
    """

    # A place that predicts the first token of several samples is there several times; put back
    # more than once, its gradient would be too.
    distinct = torch.stack(place).unique(dim=1).unbind()

    def read_out_at(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        # Some read out several predictions of each token, in further dimensions.
        if args[0].dim() != 3:
            return None
        limited.append(module)
        return (args[0][place][None], *args[1:])

    def feed_at(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shape.append(args[0].shape)
        return (args[0][distinct][None], *args[1:])

    def put_back(module: nn.Module, args: tuple[Tensor, ...], out: Any) -> Any:
        # Some mixtures of experts give what they routed beside what they computed.
        if isinstance(out, tuple):
            return (put_back(module, args, out[0]), *out[1:])
        # The hidden state that the network's output is added to still has all B x L tokens.
        return out.new_zeros(shape[0]).index_put(distinct, out.reshape(-1, out.shape[-1]))

    shape: list[torch.Size] = []
    limited: list[nn.Module] = []
    handles = []
    # A layer that is computed again for the gradient would not find these hooks any more.
    feed_forward = feed_forward and not is_checkpointing(model)
    last = last_feed_forward(model) if feed_forward else None
    if last is not None:
        handles.append(last.register_forward_pre_hook(feed_at))
        handles.append(last.register_forward_hook(put_back))
    head = model.get_output_embeddings()
    if head is not None:
        handles.append(head.register_forward_pre_hook(read_out_at))
    try:
        yield limited
    finally:
        for handle in handles:
            handle.remove()

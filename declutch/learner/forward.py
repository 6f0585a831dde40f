"""Log-probabilities of the response tokens of a batch, from any Hugging Face causal LM.

Notation: B x L batch, N response tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from declutch.learner.pack import SHARED_SEGMENT
from declutch.models.capabilities import (
    can_fuse_now,
    capabilities,
    check_length,
    last_feed_forward,
    text_config,
)
from declutch.models.checkpointing import is_checkpointing
from declutch.models.fused import Fused, fuse
from declutch.models.precision import compute_dtype, computing, needs_mask
from declutch.models.readout import Read, reading_later, tokens_at_once
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
    row, column = batch.response_mask.nonzero(as_tuple=True)
    inputs, place = _inputs(model, batch, row, _predictor(batch, row, column))
    target = batch.input_ids[row, column].to(place[0].device)
    wanted = Wanted(place, _distinct(place), target, _masked_tokens(batch))
    logprobs, entropy = read_logprobs(model, inputs, wanted, temperature)
    blank = logprobs.new_zeros(batch.input_ids.shape)
    where = (row.to(blank.device), column.to(blank.device))
    return blank.index_put(where, logprobs), blank.index_put(where, entropy)


@dataclass(frozen=True)
class Wanted:
    """The N tokens whose log-probabilities a forward pass is to find, on the model's device.

    Attributes:
        place: rows and columns i64[N] of what predicts them.
        distinct: the same places, each once.
        token: i64[N].
        masked: which of them have an action mask, i64[M], and what it allows, bool[M, V].
    """

    place: tuple[Tensor, Tensor]
    distinct: tuple[Tensor, Tensor]
    token: Tensor
    masked: tuple[Tensor, Tensor] | None = None


def read_logprobs(
    model: nn.Module, inputs: Mapping[str, Tensor], wanted: Wanted, temperature: float
) -> tuple[Tensor, Tensor]:
    """Compute by a forward pass log-probabilities f32[N] and entropies f32[N] of wanted tokens."""

    def read(raw: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        logits = raw.to(torch.promote_types(raw.dtype, torch.float32)) / temperature  # [n, V]
        if wanted.masked is not None:
            logits = logits.masked_fill_(_disallowed(wanted.masked, logits, part), float("-inf"))
        log_softmax = torch.log_softmax(logits, dim=-1)
        logprobs = log_softmax.gather(1, wanted.token[part, None])[:, 0]
        with torch.no_grad():
            # A masked token has log-probability -inf and probability 0: their product counts as 0.
            entropy = -log_softmax.exp().mul_(log_softmax.clamp(min=-1e9)).sum(-1)
        return logprobs, entropy

    if _is_fused(model, len(wanted.token)):
        logits = _fused_logits(model, inputs, wanted.place, wanted.distinct)
        return read(logits, slice(0, len(logits)))
    with _feeding_only(model, wanted.distinct):
        logprobs, entropy = _map_logits(model, inputs, wanted.place, read)
    return logprobs, entropy


def response_values(model: nn.Module, batch: TokenBatch) -> Tensor:
    """One forward pass of a critic in the learner: the value before each response token, f32[N]."""
    row, column = batch.response_mask.nonzero(as_tuple=True)
    inputs, place = _inputs(model, batch, row, _predictor(batch, row, column))
    with _feeding_only(model, _distinct(place)):
        (values,) = _map_logits(model, inputs, place, lambda raw, _: (raw[:, 0].float(),))
    return values


def response_logits(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Compute by a forward pass the model's own logits [N, V] that predict each response token.

    Rows are in the order of the batch; only these places are read out.
    """
    row, column = batch.response_mask.nonzero(as_tuple=True)
    inputs, place = _inputs(model, batch, row, _predictor(batch, row, column))
    if _is_fused(model, len(row)):
        return _fused_logits(model, inputs, place, _distinct(place))
    with _feeding_only(model, _distinct(place)):
        return _whole_logits(model, inputs, place)


def fused_readout(model: nn.Module, fused: Fused, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """Compute by a fused forward pass the logits of response tokens and what they are read from.

    Args:
        model: one that `can_fuse_now`.
        fused: its pass, made of its weights as they are.
    Returns:
        Hidden states [N, D] after the last norm, and the model's logits [N, V], rows in the order
        of the batch.
    """
    row, column = batch.response_mask.nonzero(as_tuple=True)
    inputs, place = _inputs(model, batch, row, _predictor(batch, row, column))
    states, logits, order = _read_fused(fused, inputs, place, _distinct(place))
    return (states, logits) if order is None else (states[order], logits[order])


def response_hidden(model: Any, batch: TokenBatch) -> Tensor:
    """Compute by a forward pass the hidden state that predicts each response token, f32[N, D]."""
    row, column = batch.response_mask.nonzero(as_tuple=True)
    inputs, place = _inputs(model, batch, row, _predictor(batch, row, column))
    with (
        computing(model),
        _feeding_only(model, _distinct(place)),
        reading_later(model, place) as later,
    ):
        model(**inputs, use_cache=False)
    assert later.hidden is not None
    return later.hidden.float()


def example_loss(
    model: Any, input_ids: Tensor, place: tuple[Tensor, Tensor], target: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute by a forward pass the negative log-likelihood of tokens of supervised examples.

    Args:
        input_ids: i64[B, L] on the model's device, rows padded on the right.
        place: rows and columns i64[N] of the tokens that predict.
        target: i64[N], what they are to predict.
    Returns:
        Their sum in nats, by the model's own logits, scaled and capped as its architecture does it;
        and the hidden states [B, L, D] that they are read from.
    """
    given: list[Tensor] = []
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, args: given.append(args[0]))

    def read(raw: Tensor, part: slice) -> tuple[Tensor]:
        return (F.cross_entropy(raw.float(), target[part], reduction="sum")[None],)

    inputs = {"input_ids": input_ids}
    # Right padding under causal attention needs no mask.
    if _writes_mask(model):
        one = input_ids.new_zeros(1, input_ids.shape[1])
        inputs["attention_mask"] = _attention_mask(one, compute_dtype(model))
    try:
        (sums,) = _map_logits(model, inputs, place, read)
    finally:
        handle.remove()
    return sums.sum(), given[0]


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
    unseen = torch.finfo(dtype).min
    return torch.zeros(is_seen.shape, dtype=dtype, device=segment.device).masked_fill(
        ~is_seen, unseen
    )


def _writes_mask(model: Any) -> bool:
    """Whether rows that need no mask, as attention is causal, are given one to be faster."""
    return needs_mask(model) and capabilities(model).can_share_rows


def _masked_tokens(batch: TokenBatch) -> tuple[Tensor, Tensor] | None:
    """Which of the N response tokens have an action mask, i64[M], and what it allows, [M, V]."""
    if batch.allowed_mask is None:
        return None
    row, column, allowed = batch.allowed_mask
    number = torch.zeros_like(batch.input_ids)
    number[batch.response_mask] = torch.arange(batch.num_response_tokens)
    return number[row, column], allowed


def _disallowed(masked: tuple[Tensor, Tensor], logits: Tensor, part: slice) -> Tensor:
    """bool[n, V], true where the action mask forbids a token, of a part of the response tokens."""
    number, allowed = masked
    inside = (number >= part.start) & (number < part.stop)
    disallowed = torch.zeros_like(logits, dtype=torch.bool)
    place = (number[inside] - part.start).to(logits.device)
    disallowed[place] = ~allowed[inside].to(logits.device)
    return disallowed


def _inputs(
    model: Any, batch: TokenBatch, row: Tensor, column: Tensor
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """What a forward pass of a batch is given, and the given places, on the model's device."""
    device = next(model.parameters()).device
    # What follows the last place predicts nothing that is asked for.
    width = int(column.max()) + 1 if column.numel() else 1
    check_length(model, int(batch.position_ids[:, :width].max()) + 1)
    inputs = {"input_ids": batch.input_ids[:, :width].to(device)}
    if bool((batch.segment_ids > SHARED_SEGMENT + 1).any()) or _writes_mask(model):
        mask = _attention_mask(batch.segment_ids[:, :width], compute_dtype(model))
        inputs["attention_mask"] = mask.to(device)
        inputs["position_ids"] = batch.position_ids[:, :width].to(device)
    return inputs, (row.to(device), column.to(device))


def _distinct(place: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Places, each once: one that predicts the first token of several samples is there for each."""
    row, column = torch.stack(place).unique(dim=1)
    return row, column


def _map_logits(
    model: Any, inputs: Mapping[str, Tensor], place: tuple[Tensor, Tensor], read: Read
) -> tuple[Tensor, ...]:
    """What `read` finds in the logits at places of a forward pass, in parts where they are large.

    What the architecture does to the logits (scaling, soft-capping) stays in its own code.
    """
    num_tokens, size = len(place[0]), tokens_at_once(model, vocabulary_size(model))
    if num_tokens > size:
        with computing(model), reading_later(model, place) as later:
            logits: Tensor = model(**inputs, use_cache=False).logits
        if later.hidden is not None:
            return later.map_parts(size, read)
        return read(logits[place], slice(0, num_tokens))
    return read(_whole_logits(model, inputs, place), slice(0, num_tokens))


def _whole_logits(model: Any, inputs: Mapping[str, Tensor], place: tuple[Tensor, Tensor]) -> Tensor:
    """The logits [N, V] at places of a forward pass, all at once."""
    with computing(model), _reading_only(model, place) as limited:
        logits: Tensor = model(**inputs, use_cache=False).logits
    # Shapes do not tell: as many places as the row has tokens may be others than all of them.
    return logits[0] if limited else logits[place]


def _is_fused(model: Any, num_tokens: int) -> bool:
    """Whether the logits of so many tokens are found by the fused forward pass, all at once."""
    return num_tokens <= tokens_at_once(model, vocabulary_size(model)) and can_fuse_now(model)


def _fused_logits(
    model: Any,
    inputs: Mapping[str, Tensor],
    place: tuple[Tensor, Tensor],
    distinct: tuple[Tensor, Tensor],
) -> Tensor:
    """The logits [N, V] at places of a fused forward pass."""
    _, logits, order = _read_fused(fuse(model), inputs, place, distinct)
    return logits if order is None else logits[order]


def _read_fused(
    fused: Fused,
    inputs: Mapping[str, Tensor],
    place: tuple[Tensor, Tensor],
    distinct: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Hidden states and logits of a fused forward pass, whose last layer is computed only there.

    Args:
        distinct: the same places, each once, sorted.
    Returns:
        [M, D] and [M, V] of the distinct places, and i64[N], which of them each place is; None
        where each is there once, in order.
    """
    ids = inputs["input_ids"]
    row, column = distinct
    counts = torch.bincount(row, minlength=len(ids))
    rank = torch.arange(len(row), device=ids.device) - (counts.cumsum(0) - counts)[row]
    # A row with fewer places than others reads its first token in the place of those it lacks.
    columns = row.new_zeros(len(ids), int(counts.max()) if len(row) else 0)
    columns[row, rank] = column
    positions = inputs.get("position_ids")
    if positions is None:
        positions = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    states = fused.hidden(ids, positions, inputs.get("attention_mask"), columns)
    found, order = states[row, rank], None
    if len(row) < len(place[0]):
        width = ids.shape[1]
        order = torch.searchsorted(row * width + column, place[0] * width + place[1])
    return found, fused.read_out(found), order


@contextmanager
def _reading_only(model: Any, place: tuple[Tensor, Tensor]) -> Iterator[list[nn.Module]]:
    """Inside the block the model's logits are [1, N, V], of N places of the batch only.

    What it yields is empty as long as that has not happened.
    """
    limited: list[nn.Module] = []

    def read_out_at(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        # Some read out several predictions of each token, in further dimensions.
        if args[0].dim() != 3:
            return None
        limited.append(module)
        return (args[0][place][None], *args[1:])

    head = model.get_output_embeddings()
    handle = None if head is None else head.register_forward_pre_hook(read_out_at)
    try:
        yield limited
    finally:
        if handle is not None:
            handle.remove()


@contextmanager
def _feeding_only(model: Any, distinct: tuple[Tensor, Tensor]) -> Iterator[None]:
    """Inside the block the last feed-forward network is computed at given places only.

    After the last attention tokens do not meet again. It is done where that network is found under
    the usual names.

    Args:
        distinct: rows and columns; put back more than once, a place's gradient would be too.
    """
    # A layer that is computed again for the gradient would not find these hooks any more.
    last = None if is_checkpointing(model) else last_feed_forward(model)
    if last is None:
        yield
        return
    shape: list[torch.Size] = []

    def feed_at(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shape.append(args[0].shape)
        return (args[0][distinct][None], *args[1:])

    def put_back(module: nn.Module, args: tuple[Tensor, ...], out: Any) -> Any:
        # Some mixtures of experts give what they routed beside what they computed.
        if isinstance(out, tuple):
            return (put_back(module, args, out[0]), *out[1:])
        # The hidden state that the network's output is added to still has all B x L tokens.
        return out.new_zeros(shape[0]).index_put(distinct, out.reshape(-1, out.shape[-1]))

    handles = [
        last.register_forward_pre_hook(feed_at),
        last.register_forward_hook(put_back),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

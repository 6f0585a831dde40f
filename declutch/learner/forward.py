"""Log-probabilities of the response tokens of a batch, from any Hugging Face causal LM.

Notation: B x L batch, N response tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from declutch.learner.pack import PROMPT_SEGMENT
from declutch.records import TokenBatch


def token_logprobs(
    model: nn.Module, batch: TokenBatch, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of each response token, under the batch's action mask.

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


def can_share_prompts(model: Any) -> bool:
    """Whether the model takes an attention mask of any form and positions that it is told.

    Models without attention, with a sliding window, or with a kernel that knows causal masks only
    cannot compute several responses after one prompt.
    """
    config = model.config.get_text_config()
    accepted = inspect.signature(model.forward).parameters
    return (
        {"attention_mask", "position_ids"} <= set(accepted)
        and getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
        and getattr(config, "sliding_window", None) is None
    )


def _predictor(batch: TokenBatch, row: Tensor, column: Tensor) -> Tensor:
    """i64[N], the column that predicts each response token: the one before it in its response,
    or the prompt's last."""
    segment = batch.segment_ids
    prompt_end = (segment == PROMPT_SEGMENT).sum(dim=1) - 1
    is_first = segment[row, column] != segment[row, column - 1]
    return torch.where(is_first, prompt_end[row], column - 1)


def _attention_mask(segment: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, 1, L, L], added to the scores: a token sees the prompt and its own response so far.

    Padding sees the prompt and padding, so that its softmax stays finite; nothing sees it.
    """
    query, key = segment[:, None, :, None], segment[:, None, None, :]
    is_seen = ((query == key) | (key == PROMPT_SEGMENT)).tril()
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
    """Logits [N, V] at the N given places.

    The read-out layer is handed those places only; whatever the architecture does to its output
    (scaling, soft-capping) then happens in the model's own code.
    """
    # What follows the last place predicts nothing that is asked for.
    width = int(column.max()) + 1 if column.numel() else 1
    place = (row.to(device), column.to(device))

    def keep_places(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][place][None], *args[1:])

    inputs = {"input_ids": batch.input_ids[:, :width].to(device)}
    if bool((batch.segment_ids > PROMPT_SEGMENT + 1).any()):
        mask = _attention_mask(batch.segment_ids[:, :width], model.dtype)
        inputs["attention_mask"] = mask.to(device)
        inputs["position_ids"] = batch.position_ids[:, :width].to(device)
    head = model.get_output_embeddings()
    handle = None if head is None else head.register_forward_pre_hook(keep_places)
    try:
        logits: Tensor = model(**inputs, use_cache=False).logits
    finally:
        if handle is not None:
            handle.remove()
    is_full = logits.shape[:2] == inputs["input_ids"].shape
    return logits[place] if is_full else logits[0]

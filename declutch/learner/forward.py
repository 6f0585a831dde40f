"""Log-probabilities of the response tokens of a batch, from any Hugging Face causal LM.

Notation: B x L batch, N response tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
    row, column = (index.to(device) for index in batch.response_mask.nonzero(as_tuple=True))
    input_ids = batch.input_ids.to(device)
    logits = _read_out(model, input_ids, row, column - 1).float() / temperature  # [N, V]
    if batch.allowed_mask is not None:
        logits = logits.masked_fill(_disallowed(batch, logits), float("-inf"))
    log_softmax = torch.log_softmax(logits, dim=-1)
    logprobs = log_softmax.gather(1, input_ids[row, column, None])[:, 0]
    with torch.no_grad():
        # A masked token has log-probability -inf and probability 0: their product counts as 0.
        entropy = -(log_softmax.exp() * log_softmax.clamp(min=-1e9)).sum(-1)
    blank = torch.zeros(input_ids.shape, dtype=torch.float32, device=device)
    return blank.index_put((row, column), logprobs), blank.index_put((row, column), entropy)


def _disallowed(batch: TokenBatch, logits: Tensor) -> Tensor:
    """bool[N, V], true where the action mask forbids a token."""
    assert batch.allowed_mask is not None
    row, column, allowed = batch.allowed_mask
    slot = torch.zeros_like(batch.input_ids)
    slot[batch.response_mask] = torch.arange(len(logits))
    disallowed = torch.zeros_like(logits, dtype=torch.bool)
    disallowed[slot[row, column].to(logits.device)] = ~allowed.to(logits.device)
    return disallowed


def _read_out(model: Any, input_ids: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Logits [N, V] at the N given places.

    The read-out layer is handed those places only; whatever the architecture does to its output
    (scaling, soft-capping) then happens in the model's own code.
    """

    def keep_places(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][row, column][None], *args[1:])

    head = model.get_output_embeddings()
    handle = None if head is None else head.register_forward_pre_hook(keep_places)
    try:
        # No attention mask: under causal attention no token sees the padding to its right.
        logits: Tensor = model(input_ids=input_ids, use_cache=False).logits
    finally:
        if handle is not None:
            handle.remove()
    is_full = logits.shape[:2] == input_ids.shape
    return logits[row, column] if is_full else logits[0]

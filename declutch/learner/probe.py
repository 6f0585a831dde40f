"""Log-probabilities of responses that are already there, by one pass without gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from declutch.learner.forward import sharing_break_even, token_logprobs
from declutch.learner.mode import evaluation_mode, vocabulary_size
from declutch.learner.pack import pack
from declutch.learner.samples import build_samples
from declutch.records import Role, Step, empty_float


def probe(
    model: nn.Module,
    steps: Sequence[Step],
    temperature: float,
    token_budget: int,
    pad_id: int,
) -> list[Tensor]:
    """Log-probability of every response token of every step.

    Args:
        model: the policy before the update, or the reference.
        steps: S steps.
        temperature: what the responses were sampled at.
        token_budget: tokens of one forward pass, padding included.
        pad_id: any token of the vocabulary.
    Returns:
        S tensors f32[T] on the CPU, in the order of `steps`, under each step's action mask.
    """
    samples = build_samples(steps, torch.zeros(len(steps)), Role.AGENT)
    found: dict[int, Tensor] = {}
    with evaluation_mode(model), torch.no_grad():
        break_even = sharing_break_even(model)
        for batch in pack(samples, token_budget, pad_id, vocabulary_size(model), break_even):
            logprobs = token_logprobs(model, batch, temperature)[0].cpu()[batch.response_mask]
            step_ids = batch.step_id[batch.response_mask]
            step_ids, sizes = torch.unique_consecutive(step_ids, return_counts=True)
            parts = torch.split(logprobs, sizes.tolist())
            found.update(zip(step_ids.tolist(), parts, strict=True))
    # A step without response tokens is in no batch's response mask.
    return [found.get(index, empty_float()) for index in range(len(steps))]

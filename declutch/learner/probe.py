"""What a model says about responses that are already there, by one pass without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from declutch.ground.errors import UserError
from declutch.learner.forward import (
    response_hidden,
    response_values,
    sharing_break_even,
    token_logprobs,
    vocabulary_size,
)
from declutch.learner.pack import pack
from declutch.learner.samples import Sample, build_samples
from declutch.models.capabilities import logit_scale
from declutch.models.mode import evaluation_mode
from declutch.records import Role, Step, TokenBatch


def probe(
    model: nn.Module,
    steps: Sequence[Step],
    temperature: float,
    token_budget: int,
    pad_id: int,
) -> list[Tensor]:
    """Probe a model without a gradient: the log-probability of every response token of every step.

    Args:
        model: the policy before the update, or the reference.
        steps: S steps.
        temperature: what the responses were sampled at.
        token_budget: tokens of one forward pass, padding included.
        pad_id: any token of the vocabulary.
    Returns:
        S tensors f32[T] on the CPU, in the order of `steps`, under each step's action mask.
    """

    def read(batch: TokenBatch) -> Tensor:
        return token_logprobs(model, batch, temperature)[0].cpu()[batch.response_mask]

    samples = build_samples(steps, torch.zeros(len(steps)), Role.AGENT)
    return _by_response(model, samples, token_budget, pad_id, read)


def probe_hidden(
    model: nn.Module, steps: Sequence[Step], token_budget: int, pad_id: int
) -> list[Tensor]:
    """Probe the hidden states that predict every step's response tokens: S tensors f32[T, D]."""
    samples = build_samples(steps, torch.zeros(len(steps)), Role.AGENT)
    return _by_response(
        model, samples, token_budget, pad_id, lambda batch: response_hidden(model, batch).cpu()
    )


def probe_values(
    critic: nn.Module, steps: Sequence[Step], token_budget: int, pad_id: int
) -> list[Tensor]:
    """Probe what a critic expects before every step's response tokens: S tensors f32[T]."""
    samples = build_samples(steps, torch.zeros(len(steps)), Role.AGENT, masked=False)
    return _by_response(
        critic, samples, token_budget, pad_id, lambda batch: response_values(critic, batch).cpu()
    )


def readout_matrix(model: Any) -> Tensor:
    """For probes, the matrix f32[V, D] that makes a model's logits of hidden states, on the CPU.

    Raises:
        UserError: the model does more to its logits: scales or caps them, or adds a bias.
    """
    if logit_scale(model) != 1.0:
        raise UserError(
            f"this method needs logits that are one matrix product of the hidden states, but "
            f"{type(model).__name__} scales or caps them or adds a bias; choose another model or "
            "another algorithm.type"
        )
    weight: Tensor = model.get_output_embeddings().weight
    return weight.detach().float().cpu()


def _by_response(
    model: nn.Module,
    samples: Sequence[Sample],
    token_budget: int,
    pad_id: int,
    read: Callable[[TokenBatch], Tensor],
) -> list[Tensor]:
    """What `read` finds at a batch's N response tokens, [N, ...], split by sample."""
    found: dict[int, Tensor] = {}
    shape: tuple[int, ...] = ()
    with evaluation_mode(model), torch.no_grad():
        break_even = sharing_break_even(model)
        for batch in pack(samples, token_budget, pad_id, vocabulary_size(model), break_even):
            values = read(batch)
            shape = tuple(values.shape[1:])
            step_ids = batch.step_id[batch.response_mask]
            step_ids, sizes = torch.unique_consecutive(step_ids, return_counts=True)
            found.update(zip(step_ids.tolist(), torch.split(values, sizes.tolist()), strict=True))
    # A step without response tokens is in no batch's response mask.
    return [found.get(index, torch.zeros(0, *shape)) for index in range(len(samples))]

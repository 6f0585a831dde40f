"""What the read-out's gradient is made of, token by token: the base of token coupling.

The read-out is the last matrix, which makes logits of hidden states. Its gradient of the
log-likelihood of a response is E' H: H are the hidden states that predict the T tokens, after the
final norm, and E the gradients of the log-likelihood with respect to what the matrix gives, which
are "token sampled less probabilities" unless the model scales or caps its logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from declutch.coupling.measured import MeasuredModel, Micro, micro_batches, response_logprobs
from declutch.coupling.samples import LabelledSample


@dataclass(frozen=True)
class Readout:
    """What the read-out's gradient of a micro-batch is made of, for token coupling.

    Attributes:
        rows: i64[B], which sample each row is.
        hidden: [B, T, D], zero where a row has fewer tokens.
        error: [B, T, V], likewise.
    """

    rows: Tensor
    hidden: Tensor
    error: Tensor


def readouts(
    model: MeasuredModel,
    samples: Sequence[LabelledSample],
    temperature: float = 1.0,
    max_bytes: int = 2**30,
) -> Iterator[Readout]:
    """Read hidden states and errors of all samples' responses out of a model, for token coupling.

    Args:
        temperature: the logits are divided by it.
        max_bytes: of the errors of a micro-batch, unless one sample's are more.
    """
    width = model.network.get_output_embeddings().weight.shape[0] * model.dtype.itemsize
    longest = max(sample.num_response_tokens for sample in samples)
    max_rows = max(1, max_bytes // (width * longest))
    for micro in micro_batches(samples, model.device, max_rows):
        yield _read(model.network, micro, temperature)


def _read(network: Any, micro: Micro, temperature: float) -> Readout:
    given: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        # Nothing before it requires a gradient, so that the backward pass ends here.
        given.extend((args[0].detach(), out.detach().requires_grad_(True)))
        return given[1]

    handle = network.get_output_embeddings().register_forward_hook(keep)
    try:
        with _frozen(network), torch.enable_grad():
            total = response_logprobs(network, micro, temperature).sum()
            (error,) = torch.autograd.grad(total, given[1])
    finally:
        handle.remove()
    hidden = given[0].masked_fill(~micro.is_token[:, :, None], 0.0)
    return Readout(micro.rows, hidden, error)


@contextmanager
def _frozen(network: Any) -> Iterator[None]:
    trained = [each for each in network.parameters() if each.requires_grad]
    for each in trained:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in trained:
            each.requires_grad_(True)

"""What the read-out's gradient is made of, token by token: the base of token coupling.

The read-out is the last matrix, which makes logits of hidden states. Its gradient of the
log-likelihood of a response is E' H: H are the hidden states that predict the T tokens, after the
final norm, and E the gradients of the log-likelihood with respect to what the matrix gives, which
are "token sampled less probabilities" unless the model scales or caps its logits. Nothing before
the read-out needs a gradient, so that samples whose prompts begin alike share a forward pass over
that beginning, as the learner's do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from declutch.coupling.measured import MeasuredModel, as_it_was
from declutch.coupling.samples import LabelledSample
from declutch.ground.errors import UserError
from declutch.learner.forward import (
    fused_readout,
    response_logits,
    sharing_break_even,
    vocabulary_size,
)
from declutch.learner.pack import pack
from declutch.learner.samples import Sample
from declutch.models.capabilities import can_fuse_now
from declutch.models.fused import Fused, fuse
from declutch.records import Role, TokenBatch

TOKENS_AT_ONCE = 2048
"""Tokens of one forward pass; more leave a processor's cache."""


@dataclass(frozen=True)
class Readout:
    """What the read-out's gradient of a few samples is made of, for token coupling.

    Attributes:
        rows: i64[B], which samples these are.
        sizes: how many response tokens each has; N in all.
        hidden: [N, D] of all tokens, sample by sample.
        error: [N, V], likewise.
    """

    rows: Tensor
    sizes: tuple[int, ...]
    hidden: Tensor
    error: Tensor

    @property
    def padded(self) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, D] and errors [B, T, V], zero where a sample has fewer tokens."""
        hidden, error = (
            pad_sequence(each.split(self.sizes), batch_first=True)
            for each in (self.hidden, self.error)
        )
        return hidden, error

    def spread(self, values: Tensor) -> Tensor:
        """Values [B] of samples as [N] of their tokens."""
        return values.repeat_interleave(torch.tensor(self.sizes, device=values.device))


def readouts(
    model: MeasuredModel,
    samples: Sequence[LabelledSample],
    temperature: float = 1.0,
    max_bytes: int = 2**28,
) -> Iterator[Readout]:
    """Read hidden states and errors of all samples' responses out of a model, for token coupling.

    Args:
        temperature: the logits are divided by it.
        max_bytes: of the errors that are read at once, unless one sample's are more.
    """
    network: Any = model.network
    width = vocabulary_size(network)
    chosen = [_as_sample(index, sample) for index, sample in enumerate(samples)]
    break_even = sharing_break_even(network)
    most = max(1, max_bytes // (width * model.dtype.itemsize))
    fused = _fuse(network)
    # The sooner samples of one beginning come to lie together, the more of them share it.
    for few in _cut(chosen, most) if break_even is None else _cut(_by_prompt(chosen), most):
        for batch in pack(few, TOKENS_AT_ONCE, 0, width, break_even):
            yield _read(network, fused, batch, temperature)


def _fuse(network: Any) -> Fused | None:
    """The fused pass of a model that has one, whose logits are what the read-out gives."""
    with as_it_was(network), torch.no_grad():
        return fuse(network) if can_fuse_now(network) else None


def _by_prompt(samples: Sequence[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda sample: sample.prompt_ids.tolist())


def _cut(samples: Sequence[Sample], most: int) -> Iterator[list[Sample]]:
    """Parts of the samples with so many response tokens at most, or a single sample."""
    part: list[Sample] = []
    count = 0
    for sample in samples:
        size = sample.response_ids.numel()
        if part and count + size > most:
            yield part
            part, count = [], 0
        part.append(sample)
        count += size
    yield part


def _as_sample(index: int, sample: LabelledSample) -> Sample:
    nothing = torch.zeros(sample.num_response_tokens)
    return Sample(
        step_id=index,
        role=Role.AGENT,
        prompt_ids=sample.prompt_ids,
        response_ids=sample.response_ids,
        allowed_ids=(),
        advantage=nothing,
        sample_logprobs=nothing,
        old_logprobs=nothing,
    )


def _read(network: Any, fused: Fused | None, batch: TokenBatch, temperature: float) -> Readout:
    row, column = batch.response_mask.nonzero(as_tuple=True)
    target = batch.input_ids[row, column].to(next(network.parameters()).device)
    rows, sizes = batch.step_id[row, column].unique_consecutive(return_counts=True)
    if fused is None:
        hidden, error = _read_hooked(network, batch, target, temperature)
    else:
        with torch.no_grad():
            hidden, logits = fused_readout(network, fused, batch)
            error = _plain_error(logits, target, temperature)
    return Readout(rows, tuple(sizes.tolist()), hidden, error)


def _read_hooked(
    network: Any, batch: TokenBatch, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Hidden states and errors by the model's own forward pass, whatever it does to its logits."""
    given: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        # Nothing before it requires a gradient, so that a backward pass ends here.
        given.extend((args[0].detach(), out.detach().requires_grad_(True)))
        return given[1]

    handle = network.get_output_embeddings().register_forward_hook(keep)
    try:
        with _frozen(network), torch.enable_grad():
            logits = response_logits(network, batch)
    finally:
        handle.remove()
    hidden = given[0].flatten(0, -2)
    if len(hidden) != len(target):
        raise UserError(
            f"the read-out of a {type(network).__name__} takes something else than a hidden state "
            "for each token, so that token coupling cannot be measured"
        )
    return hidden, _error(logits, given[1], target, temperature)


def _error(logits: Tensor, read: Tensor, target: Tensor, temperature: float) -> Tensor:
    """[N, V], the gradients of the log-likelihood with respect to what the read-out gives.

    Args:
        read: what the read-out gave, a leaf of the graph that made the logits.
    """
    if logits.dtype == read.dtype and torch.equal(logits, read.flatten(0, -2)):
        with torch.no_grad():
            return _plain_error(logits, target, temperature)
    place = torch.arange(len(target), device=target.device)
    with torch.enable_grad():
        logprobs = torch.log_softmax(logits / temperature, dim=-1)
        found: Tensor = torch.autograd.grad(logprobs[place, target].sum(), read)[0]
    return found.flatten(0, -2)


def _plain_error(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """The same of a model whose logits are what the read-out gave."""
    error = torch.softmax(logits / temperature, dim=-1).mul_(-1 / temperature)
    error[torch.arange(len(target), device=target.device), target] += 1 / temperature
    return error


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

"""The memory that learning takes, found by running its passes on a model's outline.

A pass is the learner's own forward and backward pass, on tensors that have shapes and no memory
(`models.outline`), while a meter counts them.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from declutch.learner.forward import Wanted, read_logprobs
from declutch.models.capabilities import capabilities
from declutch.models.checkpointing import checkpointing
from declutch.models.meter import MemoryMeter
from declutch.models.outline import layers_alike, shortened

Phase = Literal["always", "learning", "sampling", "probing"]


@dataclass(frozen=True)
class PassShape:
    """The shape of one of the learner's passes: rows of a prompt and a response each."""

    num_rows: int
    prompt_tokens: int
    response_tokens: int


@dataclass(frozen=True)
class PassMemory:
    """The memory of one of the learner's passes, beside weights and gradients, in bytes.

    Attributes:
        kept: what the forward pass keeps for the gradient; 0 without one.
        peak: the most there is at once.
    """

    kept: int
    peak: int


@dataclass(frozen=True)
class MemoryPart:
    """One thing that takes memory in a run, on the device of the model.

    Attributes:
        name: what it is.
        num_bytes: how much it takes.
        phase: when it is there.
        note: of what it is made, or which setting decides it.
    """

    name: str
    num_bytes: int
    phase: Phase
    note: str = ""


@dataclass(frozen=True)
class MemoryEstimate:
    """An estimate of the memory that a run takes: its parts, and the most there is at once."""

    parts: tuple[MemoryPart, ...]

    def total(self, phase: Phase) -> int:
        """Bytes in a phase: its own parts and those that are always there."""
        return sum(part.num_bytes for part in self.parts if part.phase in ("always", phase))

    @property
    def worst_phase(self) -> Phase:
        """The phase that takes the most."""
        phases: tuple[Phase, ...] = ("learning", "sampling", "probing")
        return max(phases, key=self.total)

    @property
    def peak(self) -> int:
        """Bytes at the most."""
        return self.total(self.worst_phase)


def meter_pass(model: Any, shape: PassShape, learns: bool = True) -> PassMemory:
    """Meter the memory of one of the learner's passes over a model.

    Of an outline whose layers are alike only a few layers are run: each adds as much, from where on
    the peak is at the end of the forward pass. Below, it may be elsewhere: the gradient of a large
    vocabulary takes more than what few layers keep.

    Args:
        model: an outline inside its block, or a model.
        learns: whether the pass is followed by a backward pass.
    """
    layers = layers_alike(model)
    few = 2
    while layers is not None and few + 1 < len(layers):
        one, two = (_shortened_pass(model, num, shape, learns) for num in (few, few + 1))
        kept, peak = two.kept - one.kept, two.peak - one.peak
        # A peak is the highest of several that grow evenly with the layers; none grows by more.
        if peak >= kept:
            more = len(layers) - few
            return PassMemory(one.kept + more * kept, one.peak + more * peak)
        few *= 2
    return _meter(model, shape, learns)


def _shortened_pass(model: Any, num_layers: int, shape: PassShape, learns: bool) -> PassMemory:
    with shortened(model, num_layers):
        return _meter(model, shape, learns)


def _meter(model: Any, shape: PassShape, learns: bool) -> PassMemory:
    num, start, length = shape.num_rows, shape.prompt_tokens - 1, shape.response_tokens
    # The last token predicts nothing and is not computed.
    inputs = {"input_ids": torch.zeros(num, start + length, dtype=torch.long)}
    row = torch.arange(num).repeat_interleave(length)
    place = (row, (start + torch.arange(length)).repeat(num))
    wanted = Wanted(place, place, torch.zeros_like(row))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    capabilities(model)  # What is looked up once is looked up before.
    for parameter in trained if learns else ():
        parameter.grad = torch.zeros_like(parameter)
    meter = MemoryMeter()
    meter.add([*model.parameters(), *model.buffers(), inputs["input_ids"], *place])
    meter.add(parameter.grad for parameter in trained if parameter.grad is not None)
    before = meter.now
    kept = 0
    with meter, checkpointing(model), nullcontext() if learns else torch.no_grad():
        logprobs, _ = read_logprobs(model, inputs, wanted, 1.0)
        if learns:
            kept = meter.now - before
            logprobs.sum().backward()
    for parameter in trained:
        parameter.grad = None
    return PassMemory(kept, meter.peak - before)

"""Inner products of the gradients of all pairs of samples, which every cosine of coupling needs.

Gradients are those of the log-likelihood of a response, summed over its tokens. They are kept in
full as far as they fit into memory; a model is passed through again for every part of its
parameters that does not. For large models a sketch takes their place: a random sum of d numbers
for each group of parameters, whose inner products are right on average.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from declutch.coupling.measured import MeasuredModel, Micro, length_order, micro_batches
from declutch.coupling.per_sample import (
    EMBEDDINGS,
    Visit,
    VisitRows,
    can_tell_apart,
    parameter_groups,
    plain_gradients,
    trained_parameters,
    visit_gradients,
)
from declutch.coupling.samples import LabelledSample
from declutch.ground.errors import UserError

PART_BYTES = 2**29
"""Bytes of one parameter's gradients of a micro-batch, at most, unless one sample's are more."""
BLOCK_ROWS = 64
"""Inner products are computed for so many samples at a time."""
MAX_PASSES = 4
"""With more passes than this, inner products are those of sketches unless asked otherwise."""

Report = Callable[[int, int], None]
"""Is told (done, total) while work goes on."""


@dataclass(frozen=True)
class GramSettings:
    """How coupling's inner products of gradients are computed.

    Attributes:
        temperature: the logits are divided by it.
        method: "exact", "sketch", or "auto": exact where a few passes suffice.
        memory: bytes that gradients may take.
        width: d, the numbers that a group of parameters is sketched to.
        seed: of the sketch.
    """

    temperature: float = 1.0
    method: str = "auto"
    memory: int = 4 * 2**30
    width: int = 2**16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("auto", "exact", "sketch"):
            raise UserError(f"--method {self.method!r} is unknown; take auto, exact or sketch")
        if not self.temperature > 0:
            raise UserError(f"--temperature {self.temperature} is not above 0")


@dataclass(frozen=True)
class Gram:
    """Coupling's inner products of the gradients of n samples, by groups of parameters.

    Attributes:
        by_group: [n, n] of every group, see `parameter_groups`; they add up.
        method: "exact" or "sketch".
        width: d of the sketch of a group, 0 for exact.
        num_passes: how often the model was passed through.
        is_apart: several samples shared a backward pass.
    """

    by_group: Mapping[str, Tensor]
    method: str = "exact"
    width: int = 0
    num_passes: int = 1
    is_apart: bool = True

    @property
    def scopes(self) -> tuple[str, ...]:
        """What `scope` takes: "all", "no_embeddings", and every layer in order."""
        layers = [name for name in self.by_group if name.startswith("layer.")]
        layers.sort(key=lambda name: int(name.partition(".")[2]))
        return ("all", "no_embeddings", *layers)

    def scope(self, name: str) -> Tensor:
        """Inner products [n, n] over a part of the parameters.

        Raises:
            UserError: no such part.
        """
        if name not in self.scopes:
            *_, last = self.scopes
            raise UserError(
                f"--scope {name!r} is unknown; take all, no_embeddings, or a layer from layer.0 "
                f"to {last}"
            )
        if name.startswith("layer."):
            return self.by_group[name]
        left_out = {"all": "", "no_embeddings": EMBEDDINGS}[name]
        return sum_of(gram for group, gram in self.by_group.items() if group != left_out)

    @property
    def error(self) -> float:
        """Standard deviation of a cosine near 0 over sketches, 0 for exact: 1/sqrt(d)."""
        return self.width**-0.5 if self.width else 0.0


def sum_of(tensors: Iterator[Tensor] | Sequence[Tensor]) -> Tensor:
    """Add up inner products of gradients of several groups; there is at least one."""
    first, *others = tensors
    return sum(others, first)


def gradient_products(
    model: MeasuredModel,
    samples: Sequence[LabelledSample],
    settings: GramSettings | None = None,
    report: Report | None = None,
) -> Gram:
    """Compute coupling's inner products of the log-likelihood gradients of all pairs of samples.

    Args:
        samples: n, in the order of rows and columns.
        report: is told (done, total) samples.
    Returns:
        [n, n] by group of parameters, of gradients summed over the T tokens of a response.
    """
    settings = settings or GramSettings()
    network = model.network
    sizes = {name: each.numel() for name, each in trained_parameters(network).items()}
    bytes_each = network.dtype.itemsize
    plan = _plan(network, len(samples), settings.memory, bytes_each)
    is_exact = settings.method == "exact" or (settings.method == "auto" and len(plan) <= MAX_PASSES)
    is_apart = can_tell_apart(network, samples, settings.temperature)
    max_rows = max(1, PART_BYTES // (max(sizes.values()) * bytes_each))
    run = _Run(model, samples, settings, max_rows if is_apart else 1, is_apart, report)
    groups = parameter_groups(network)
    if is_exact:
        found: dict[str, Tensor] = {}
        for number, parts in enumerate(plan):
            keeper = _Keeper(network, samples, parts)
            run.through(keeper.visit, number, len(plan))
            keeper.add_to(found, groups)
        return Gram(found, "exact", 0, len(plan), is_apart)
    sketcher = _Sketcher(network, len(samples), groups, settings)
    run.through(sketcher.visit, 0, 1, sketcher.visit_rows)
    found = {group: each @ each.T for group, each in sketcher.sketches.items()}
    return Gram(found, "sketch", settings.width, 1, is_apart)


@dataclass(frozen=True)
class _Run:
    """Passes of the model over all samples."""

    model: MeasuredModel
    samples: Sequence[LabelledSample]
    settings: GramSettings
    max_rows: int
    is_apart: bool
    report: Report | None

    def through(
        self, visit: Visit, number: int, total: int, visit_rows: VisitRows | None = None
    ) -> None:
        done = number * len(self.samples)
        for micro in micro_batches(self.samples, self.model.device, self.max_rows):
            self._one(micro, visit, visit_rows)
            done += len(micro.rows)
            if self.report is not None:
                self.report(done, total * len(self.samples))

    def _one(self, micro: Micro, visit: Visit, visit_rows: VisitRows | None) -> None:
        network, temperature = self.model.network, self.settings.temperature
        if self.is_apart:
            visit_gradients(network, micro, temperature, visit, visit_rows)
        else:
            for name, gradient in plain_gradients(network, micro, temperature).items():
                visit(name, micro.rows, gradient[None])


@dataclass(frozen=True)
class _Part:
    """Some rows, along its first dimension, of a parameter."""

    name: str
    start: int
    stop: int


def _plan(network: Any, num_samples: int, memory: int, bytes_each: int) -> list[list[_Part]]:
    """The parts of the parameters whose gradients fit into memory together, pass by pass."""
    passes: list[list[_Part]] = [[]]
    room = memory
    for name, parameter in trained_parameters(network).items():
        cost = num_samples * bytes_each * max(1, parameter[0].numel())
        start = 0
        while start < len(parameter):
            fitting = min(len(parameter) - start, room // cost)
            if fitting == 0 and passes[-1]:
                passes.append([])
                room = memory
                continue
            fitting = max(1, fitting)
            passes[-1].append(_Part(name, start, start + fitting))
            room -= fitting * cost
            start += fitting
    return passes


class _Keeper:
    """Keeps the gradients of some parts of the parameters in full, samples in `length_order`."""

    def __init__(self, network: Any, samples: Sequence[LabelledSample], parts: list[_Part]) -> None:
        self.order = torch.tensor(length_order(samples))
        self.place = self.order.argsort()
        self.parts: dict[str, list[_Part]] = {}
        self.kept: dict[_Part, Tensor] = {}
        self.written: set[tuple[_Part, int]] = set()
        named = trained_parameters(network)
        for part in parts:
            self.parts.setdefault(part.name, []).append(part)
            parameter = named[part.name]
            size = (part.stop - part.start) * parameter[0].numel()
            self.kept[part] = _zeros(parameter, len(samples), size)

    def visit(self, name: str, rows: Tensor, gradient: Tensor) -> None:
        # The rows of a micro-batch follow each other in the order that they are kept in.
        first = int(self.place[rows[0]])
        for part in self.parts.get(name, ()):
            target = self.kept[part][first : first + len(rows)]
            found = gradient[:, part.start : part.stop].flatten(1)
            if (part, first) in self.written:
                target.add_(found)
            else:
                target.copy_(found)
                self.written.add((part, first))

    def add_to(self, found: dict[str, Tensor], groups: Mapping[str, str]) -> None:
        for part, kept in self.kept.items():
            group = groups[part.name]
            product = _products(kept)[self.place][:, self.place]
            found[group] = found[group] + product if group in found else product


def _zeros(like: Tensor, rows: int, columns: int) -> Tensor:
    """Zeros of a parameter's type; on a CPU their memory is not touched before it is written."""
    if like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64):
        kind = np.float32 if like.dtype == torch.float32 else np.float64
        return torch.from_numpy(np.zeros((rows, columns), dtype=kind))
    return torch.zeros(rows, columns, dtype=like.dtype, device=like.device)


def _products(vectors: Tensor) -> Tensor:
    """Inner products [n, n] of rows; those below the diagonal are not computed a second time."""
    n = len(vectors)
    out = vectors.new_empty(n, n)
    for start in range(0, n, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        torch.mm(
            vectors[: start + BLOCK_ROWS], vectors[block].T, out=out[: start + BLOCK_ROWS, block]
        )
        out[block, :start] = out[:start, block].T
    return out


@dataclass
class _Sketcher:
    """Sums up the gradients of each group of parameters at random in d numbers.

    A parameter is laid out in rows of d numbers. Every number gets a random sign, every row is
    shifted around by a random number of places, and the rows are added up. Two numbers of different
    rows meet with probability 1/d, those of one row never.
    """

    network: Any
    num_samples: int
    groups: Mapping[str, str]
    settings: GramSettings
    sketches: dict[str, Tensor] = field(default_factory=dict)
    signs: dict[str, Tensor] = field(default_factory=dict)
    shifts: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        width = self.settings.width
        for name, parameter in trained_parameters(self.network).items():
            digest = hashlib.sha256(f"{self.settings.seed}/sketch/{name}".encode()).digest()
            draw = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            size = parameter.numel()
            bits = torch.randint(0, 2, (size,), generator=draw, dtype=torch.int8)
            self.signs[name] = bits.mul_(2).sub_(1).to(parameter.device)
            num_rows = -(-size // width)
            self.shifts[name] = torch.randint(0, width, (num_rows,), generator=draw).tolist()
            group = self.groups[name]
            if group not in self.sketches:
                self.sketches[group] = torch.zeros(
                    self.num_samples, width, dtype=parameter.dtype, device=parameter.device
                )

    def visit(self, name: str, rows: Tensor, gradient: Tensor) -> None:
        width, signs = self.settings.width, self.signs[name]
        laid_out = gradient.flatten(1)
        out = laid_out.new_zeros(len(rows), width)
        for number, shift in enumerate(self.shifts[name]):
            place = slice(number * width, (number + 1) * width)
            # Signs and sums stay in a processor's cache, the gradient is read once.
            row, sign = laid_out[:, place], signs[place].to(gradient.dtype)
            head = min(row.shape[1], width - shift)
            out[:, shift : shift + head].addcmul_(row[:, :head], sign[:head])
            out[:, : row.shape[1] - head].addcmul_(row[:, head:], sign[head:])
        self.sketches[self.groups[name]][rows] += out

    def visit_rows(self, name: str, rows: Tensor, ids: Tensor, gradient: Tensor) -> None:
        """The same of a gradient that is zero but in some rows [B, L] of a matrix."""
        width, columns = self.settings.width, gradient.shape[2]
        place = ids[:, :, None] * columns + torch.arange(columns, device=ids.device)
        shift = torch.tensor(self.shifts[name], device=ids.device)[place // width]
        out = gradient.new_zeros(len(rows), width)
        signed = gradient * self.signs[name][place]
        out.scatter_add_(1, ((place + shift) % width).flatten(1), signed.flatten(1))
        self.sketches[self.groups[name]][rows] += out

"""Gradients of single samples out of one backward pass over many: the base of most of coupling.

A module with parameters of its own is told apart by what goes into it and by the gradient of what
comes out of it: for a linear layer with inputs H and gradients E, sample i's gradient is E_i' H_i.
Everything is computed for a micro-batch at once, and no gradient of the batch's sum is made. A
model that does not let itself be told apart like this (a mixture of experts mixes the tokens of
samples) is noticed by comparing with plain backward passes, and gets those instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from declutch.coupling.measured import Micro, micro_batches, response_logprobs
from declutch.coupling.samples import LabelledSample

EMBEDDINGS = "embeddings"
"""Group of the matrices that read tokens in and out."""
OTHER = "other"
"""Group of what is in no layer and is no embedding, such as the final norm."""

Visit = Callable[[str, Tensor, Tensor], None]
"""Takes a parameter's name, i64[B] samples, and [B, *shape] a part of their gradients of it; what
it is given for one name and sample adds up."""

VisitRows = Callable[[str, Tensor, Tensor, Tensor], None]
"""Takes an embedding's name, i64[B] samples, i64[B, L] rows of the matrix, and [B, L, D] what their
gradients have there; what it is given for one row and sample adds up."""

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")


class _MixedSamplesError(Exception):
    """A module whose samples cannot be told apart."""


def trained_parameters(network: Any) -> dict[str, nn.Parameter]:
    """The parameters whose per-sample gradients are taken, by name: all that train, each once."""
    return {name: each for name, each in network.named_parameters() if each.requires_grad}


def parameter_groups(network: Any) -> dict[str, str]:
    """The group of each of a model's parameters for per-sample gradients, by its name.

    Groups are "embeddings" (a tied matrix once), "layer.0", "layer.1", ..., and "other".
    """
    tables = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    head = network.get_output_embeddings()
    ids = {id(each) for module in (*tables, head) for each in module.parameters()}
    groups = {}
    for name, parameter in trained_parameters(network).items():
        layer = _LAYER.search(name)
        if id(parameter) in ids:
            groups[name] = EMBEDDINGS
        else:
            groups[name] = f"layer.{layer[1]}" if layer else OTHER
    return groups


def can_tell_apart(network: Any, samples: Sequence[LabelledSample], temperature: float) -> bool:
    """Whether one backward pass gives a model's per-sample gradients, tried on two samples."""
    tried = sorted(samples, key=lambda sample: sample.num_tokens)[:2]
    (micro,) = micro_batches(tried, next(network.parameters()).device)
    sums = {name: torch.zeros_like(each) for name, each in trained_parameters(network).items()}

    def add(name: str, rows: Tensor, part: Tensor) -> None:
        sums[name] += part.sum(0)

    try:
        visit_gradients(network, micro, temperature, add)
    except _MixedSamplesError:
        return False
    plain = plain_gradients(network, micro, temperature)
    tolerance = 1e-3 if next(iter(sums.values())).dtype == torch.float32 else 1e-9
    error = sum(float((sums[name] - plain[name]).square().sum()) for name in sums)
    size = sum(float(each.square().sum()) for each in plain.values())
    return error <= tolerance**2 * size


def plain_gradients(network: Any, micro: Micro, temperature: float) -> dict[str, Tensor]:
    """The sum over a micro-batch of its per-sample gradients, by one plain backward pass."""
    named = trained_parameters(network)
    with torch.enable_grad():
        total = response_logprobs(network, micro, temperature).sum()
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(named.items(), found, strict=True)
    }


def visit_gradients(
    network: Any,
    micro: Micro,
    temperature: float,
    visit: Visit,
    visit_rows: VisitRows | None = None,
) -> None:
    """Hand on per-sample gradients of the responses' log-likelihood, by one backward pass.

    Args:
        network: a causal LM; its parameters are left as they are.
        micro: B samples.
        temperature: the logits are divided by it.
        visit: is given parts of the B gradients, parameter by parameter, as they arise.
        visit_rows: is given in its place the few rows of a matrix that reading tokens in changes;
            without it they are laid out in whole matrices.
    """
    tape = _Tape(network, micro, visit, visit_rows)
    with tape.recording(), torch.enable_grad():
        response_logprobs(network, micro, temperature).sum().backward()


class _Tape:
    """Hooks on every module that has parameters of its own, for one micro-batch."""

    def __init__(
        self, network: Any, micro: Micro, visit: Visit, visit_rows: VisitRows | None
    ) -> None:
        self.network, self.micro, self.visit = network, micro, visit
        self.visit_rows = visit_rows
        self.trained = trained_parameters(network)
        self.names = {id(parameter): name for name, parameter in self.trained.items()}
        self.is_inside = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        handles = []
        for module in self.network.modules():
            # The embeddings are watched in any case: the backward pass ends at what they give.
            is_embedding = isinstance(module, nn.Embedding)
            own = module.parameters(recurse=False)
            if is_embedding or any(id(parameter) in self.names for parameter in own):
                handles.append(module.register_forward_hook(self._forward, with_kwargs=True))
        for parameter in self.trained.values():
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for parameter in self.trained.values():
                parameter.requires_grad_(True)

    def _forward(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
        if self.is_inside:
            return None
        rows = len(self.micro.rows)
        if not isinstance(out, Tensor) or len(args) != 1 or kwargs:
            raise _MixedSamplesError(type(module).__name__)
        given = args[0].detach()
        if out.shape[0] == 1 < rows:
            # What is the same for all samples, such as embeddings of positions.
            out, given = (each.expand(rows, *each.shape[1:]) for each in (out, given))
        if out.shape[0] != rows or given.shape[0] != rows:
            raise _MixedSamplesError(type(module).__name__)
        if out.requires_grad:
            out.register_hook(lambda gradient: self._backward(module, given, gradient))
            return out
        leaf = out.detach().requires_grad_(True)
        leaf.register_hook(lambda gradient: self._backward(module, given, gradient))
        # Some models go on to scale their embeddings in place.
        return leaf.clone()

    def _backward(self, module: nn.Module, given: Tensor, gradient: Tensor) -> None:
        with torch.no_grad():
            for name, part in self._parts(module, given, gradient.detach()):
                self.visit(name, self.micro.rows, part)

    def _parts(
        self, module: nn.Module, given: Tensor, gradient: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        own = {
            key: self.names[id(each)]
            for key, each in module.named_parameters(recurse=False)
            if id(each) in self.names
        }
        if type(module) is nn.Linear:
            flat = gradient.flatten(1, -2), given.flatten(1, -2)
            if "weight" in own:
                yield own["weight"], torch.bmm(flat[0].transpose(1, 2), flat[1])
            if "bias" in own:
                yield own["bias"], flat[0].sum(1)
        elif type(module) is nn.Embedding:
            if module.padding_idx is not None:
                gradient = gradient.masked_fill((given == module.padding_idx)[..., None], 0.0)
            if own and self.visit_rows is not None:
                self.visit_rows(own["weight"], self.micro.rows, given, gradient)
            elif own:
                yield own["weight"], _embedding_part(module, given, gradient)
        else:
            yield from self._general_parts(module, own, given, gradient)

    def _general_parts(
        self, module: nn.Module, own: dict[str, str], given: Tensor, gradient: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """Of any other module, such as a norm: its own vector-Jacobian product of each sample."""
        values = {
            key: each.detach() for key, each in module.named_parameters(recurse=False) if key in own
        }

        def of_one(one: Tensor, of_out: Tensor) -> Any:
            def forward(parameters: dict[str, Tensor]) -> Tensor:
                out: Tensor = functional_call(module, parameters, (one[None],))
                return out[0]

            return vjp(forward, values)[1](of_out)[0]

        self.is_inside = True
        try:
            found = vmap(of_one)(given, gradient)
        except RuntimeError as error:
            raise _MixedSamplesError(type(module).__name__) from error
        finally:
            self.is_inside = False
        for key, part in found.items():
            yield own[key], part


def _embedding_part(module: nn.Embedding, ids: Tensor, gradient: Tensor) -> Tensor:
    """[B, V, D] from ids [B, L] and gradients [B, L, D]."""
    rows, length, width = gradient.shape
    size = module.num_embeddings
    out = gradient.new_zeros(rows * size, width)
    place = ids + size * torch.arange(rows, device=ids.device)[:, None]
    out.index_add_(0, place.flatten(), gradient.reshape(rows * length, width))
    return out.view(rows, size, width)

"""The model whose coupling is measured: loaded in true float64 or in float32, and how it is read.

Implementations compute norms, the softmax of eager attention, and the choice of experts in float32
whatever the type of the model, so that a model of float64 is good to about 1e-5 only.
`computes_in_float64` replaces that arithmetic; the table of rotary positions stays the one that the
model was trained with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from declutch.coupling.samples import LabelledSample, SampleFile, Vocabulary, read_samples
from declutch.ground.errors import UserError
from declutch.learner.forward import vocabulary_size
from declutch.models.load import load_network, load_tokenizer
from declutch.runs.folder import RunFolder

DOUBLE_LIMIT = 20_000_000
"""Up to so many parameters a model is measured in float64 unless told otherwise."""
TOKEN_BUDGET = 4096
"""Tokens of one forward pass, padding included, unless a sample is longer."""


@dataclass(frozen=True)
class MeasuredModel:
    """A language model whose coupling is measured, and what its samples have to fit.

    Attributes:
        name: how tables call it.
        network: a causal LM with the Hugging Face interface, in evaluation mode.
        folder: where its tokenizer is loaded from when one is needed.
        adds_end: end responses of text with the end token.
    """

    name: str
    network: Any
    folder: Path
    adds_end: bool = True

    @property
    def dtype(self) -> torch.dtype:
        """The type its gradients are computed in."""
        return next(self.network.parameters()).dtype

    @property
    def precision(self) -> str:
        """The type its gradients are computed in, as captions say it."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def read_samples(self, path: Path) -> SampleFile:
        """Read labelled samples that fit the model. Raises UserError."""
        config = self.network.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None)
        tokenizer = partial(load_tokenizer, self.folder)
        size = vocabulary_size(self.network)
        return read_samples(path, Vocabulary(size, context, tokenizer, self.adds_end))


def load_measured(
    path: Path, dtype: str = "auto", device: str = "auto", adds_end: bool = True
) -> MeasuredModel:
    """Load the model whose coupling is to be measured.

    Args:
        path: a model folder, a hub name, or a run folder, which stands for its last checkpoint.
        dtype: float64 is computed as such throughout; "auto" takes it for up to 20 M parameters,
            and float32 above.
    Raises:
        UserError: nothing that can be loaded is there, or no such type or device.
    """
    if dtype not in ("auto", "float64", "float32"):
        raise UserError(f"--dtype {dtype!r} is unknown; take auto, float64 or float32")
    run = RunFolder(path)
    folder = path if (path / "config.json").exists() else run.last_checkpoint() or path
    if run.has_started() and folder == path:
        raise UserError(f"the run {path} has no checkpoint yet; give a model folder")
    if dtype == "auto":
        stored: Any = load_network(folder, None, device)
        num_parameters = sum(each.numel() for each in stored.parameters())
        dtype = "float64" if num_parameters <= DOUBLE_LIMIT else "float32"
        del stored
    network: Any = load_network(folder, getattr(torch, dtype), device)
    if network.get_output_embeddings() is None:
        raise UserError(f"{path} holds a {type(network).__name__}, which predicts no tokens")
    if dtype == "float64":
        computes_in_float64(network)
    return MeasuredModel(str(path), network, folder, adds_end)


def computes_in_float64(network: Any) -> Any:
    """Have a model of float64, whose coupling is measured, compute all but rotary tables in it.

    The forward functions of its modules are wrapped; returns the model itself.
    """
    for module in network.modules():
        if "Rotary" in type(module).__name__:
            module.forward = _wrap(_as_it_is, module.forward)
        elif not type(module).__module__.startswith("torch."):
            module.forward = _wrap(_in_float64, module.forward)
    if hasattr(network, "set_experts_implementation"):
        # The fused product of a mixture's experts takes no float64.
        network.set_experts_implementation("eager")
    return network


def _wrap(around: Callable[..., Any], forward: Callable[..., Any]) -> Callable[..., Any]:
    wrapped: Any = partial(around, forward)
    # What a model can do is read off the arguments that it takes.
    wrapped.__signature__ = inspect.signature(forward)
    return cast("Callable[..., Any]", wrapped)


@contextmanager
def as_it_was(network: Any) -> Iterator[None]:
    """Inside the block a model whose coupling is measured is without `computes_in_float64`.

    What computes with its weights and calls none of its modules, as the fused forward pass does, is
    in float64 by itself.
    """
    wrapped = [
        (module, forward)
        for module in network.modules()
        if isinstance(forward := vars(module).get("forward"), partial)
        and forward.func in (_in_float64, _as_it_is)
    ]
    for module, _ in wrapped:
        del module.forward
    try:
        yield
    finally:
        for module, forward in wrapped:
            module.forward = forward


def _in_float64(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if _StayDouble.is_active:
        return forward(*args, **kwargs)
    with _StayDouble(), _StayDouble.switched(True):
        return forward(*args, **kwargs)


def _as_it_is(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _StayDouble.switched(False):
        return forward(*args, **kwargs)


class _StayDouble(TorchFunctionMode):
    """Tensors of float64 are not made float32 while this is active."""

    is_active: ClassVar[bool] = False

    @classmethod
    @contextmanager
    def switched(cls, is_active: bool) -> Iterator[None]:
        before, cls.is_active = cls.is_active, is_active
        try:
            yield
        finally:
            cls.is_active = before

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if (
            self.is_active
            and args
            and isinstance(args[0], Tensor)
            and args[0].dtype == torch.float64
        ):
            if func is Tensor.float:
                return args[0]
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
            if func in (Tensor.to, Tensor.type):
                args = tuple(torch.float64 if each is torch.float32 else each for each in args)
        return func(*args, **kwargs)


@dataclass(frozen=True)
class Micro:
    """What is measured in one pass: a micro-batch of samples, padded on the right.

    Attributes:
        rows: i64[B], which sample each row is.
        input_ids: i64[B, L]; what follows the last place that predicts is left out.
        place: i64[B, T], columns whose outputs predict the response; 0 where a row has fewer.
        target: i64[B, T], the response's tokens.
        is_token: bool[B, T], which of them are there.
    """

    rows: Tensor
    input_ids: Tensor
    place: Tensor
    target: Tensor
    is_token: Tensor


def length_order(samples: Sequence[LabelledSample]) -> list[int]:
    """The order in which samples are measured: long ones first."""
    return sorted(range(len(samples)), key=lambda index: -samples[index].num_tokens)


def micro_batches(
    samples: Sequence[LabelledSample], device: torch.device, max_rows: int = 64
) -> Iterator[Micro]:
    """Cut what coupling is measured on into micro-batches, in `length_order`."""
    order = length_order(samples)
    start = 0
    while start < len(order):
        width = samples[order[start]].num_tokens
        stop = start + max(1, min(max_rows, TOKEN_BUDGET // width))
        yield _micro(samples, order[start:stop], device)
        start = stop


def _micro(samples: Sequence[LabelledSample], rows: Sequence[int], device: torch.device) -> Micro:
    chosen = [samples[row] for row in rows]
    width = max(sample.num_tokens for sample in chosen) - 1
    length = max(sample.num_response_tokens for sample in chosen)
    input_ids = torch.zeros(len(rows), width, dtype=torch.int64)
    place = torch.zeros(len(rows), length, dtype=torch.int64)
    target = torch.zeros(len(rows), length, dtype=torch.int64)
    is_token = torch.zeros(len(rows), length, dtype=torch.bool)
    for row, sample in enumerate(chosen):
        ids = torch.cat([sample.prompt_ids, sample.response_ids])[:-1]
        size = sample.num_response_tokens
        input_ids[row, : len(ids)] = ids
        place[row, :size] = torch.arange(size) + sample.prompt_ids.numel() - 1
        target[row, :size] = sample.response_ids
        is_token[row, :size] = True
    parts = (torch.tensor(rows), input_ids, place, target, is_token)
    return Micro(*(part.to(device) for part in parts))


def response_logprobs(network: Any, micro: Micro, temperature: float = 1.0) -> Tensor:
    """Log-probabilities [B, T] of the responses whose coupling is measured, 0 where none is."""
    with _reading_at(network, micro.place):
        logits = network(input_ids=micro.input_ids, use_cache=False).logits / temperature
    logprobs = torch.log_softmax(logits, dim=-1)
    found: Tensor = logprobs.gather(2, micro.target[:, :, None])[:, :, 0]
    return found.masked_fill(~micro.is_token, 0.0)


@contextmanager
def _reading_at(network: Any, place: Tensor) -> Iterator[None]:
    """Inside the block the model's logits are those of the places [B, T] alone."""

    def read_at(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        index = place[:, :, None].expand(-1, -1, args[0].shape[2])
        return (args[0].gather(1, index), *args[1:])

    handle = network.get_output_embeddings().register_forward_pre_hook(read_at)
    try:
        yield
    finally:
        handle.remove()

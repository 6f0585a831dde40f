"""The reference of a divergence: a frozen copy of a model, made smaller or kept elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from declutch.config.policy import ReferenceConfig
from declutch.models.load import pick_device
from declutch.models.precision import compute_dtype, set_compute_dtype


def copy_reference(model: Any, config: ReferenceConfig) -> Any:
    """Copy a model into a reference, which is never trained, in the memory that the settings say.

    Where it computes in bfloat16, the matrices of its linear layers are kept in that type: the
    arithmetic of a model with float32 weights rounds them in the same way for every pass, so that
    no number changes by it. Embeddings and norms stay float32, as they do there.
    """
    device = model.device if config.device is None else pick_device(config.device)
    computed = _computed(model, config)
    kept: dict[int, Any] = {
        id(parameter): _frozen(parameter, device, dtype)
        for parameter, dtype in _types(model, computed).items()
    }
    reference = copy.deepcopy(model, kept)
    for module in reference.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(device)
    set_compute_dtype(reference, computed)
    return reference


def kept_bytes(model: Any, config: ReferenceConfig) -> int:
    """Bytes that the weights of a model's reference take, wherever they are kept."""
    types = _types(model, _computed(model, config))
    return sum(parameter.numel() * dtype.itemsize for parameter, dtype in types.items())


@contextmanager
def at_work(reference: Any, device: torch.device) -> Iterator[None]:
    """Inside the block a reference that is kept on the CPU is on the device that computes.

    Args:
        device: of the model that is trained.
    """
    home = reference.device
    is_away = home.type == "cpu" and device.type != "cpu"
    if is_away:
        reference.to(device)
    try:
        yield
    finally:
        if is_away:
            reference.to(home)


def _computed(model: Any, config: ReferenceConfig) -> torch.dtype:
    """The type of a reference's arithmetic."""
    return compute_dtype(model) if config.dtype is None else getattr(torch, config.dtype)


def _types(model: Any, computed: torch.dtype) -> dict[nn.Parameter, torch.dtype]:
    """Each parameter of a model, and the type that a reference keeps it in."""
    linear = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Linear)
        for parameter in module.parameters(recurse=False)
    }
    # A read-out that is tied to the embeddings is looked up in, too.
    linear -= {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    return {
        parameter: computed if parameter in linear else parameter.dtype
        for parameter in model.parameters()
    }


def _frozen(parameter: nn.Parameter, device: torch.device, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(parameter.detach().to(device, dtype, copy=True), requires_grad=False)

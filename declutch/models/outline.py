"""A model's outline: its modules and shapes without any memory, made of its configuration alone.

Operations on it compute shapes and types, and no numbers. What a model of seven billion weights
keeps for a gradient is thereby known on a laptop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForCausalLM

from declutch.config.policy import ModelConfig
from declutch.ground.errors import UserError, error_reason
from declutch.models.checkpointing import enable_checkpointing
from declutch.models.lora import add_lora
from declutch.models.precision import set_compute_dtype
from declutch.models.readout import set_logits_limit


def read_shapes(path: str) -> Any:
    """Read the configuration that a model's outline is made of: config.json, of a folder or a hub.

    Raises:
        UserError: there is none.
    """
    try:
        return AutoConfig.from_pretrained(path)
    # transformers raises many types for a path that holds no model; all mean the same to a user.
    except Exception as error:
        raise UserError(
            f"no model's configuration can be read from {path!r} ({error_reason(error)}); give a "
            "folder with config.json, or a hub name"
        ) from None


@contextmanager
def outlined(shapes: Any, config: ModelConfig) -> Iterator[Any]:
    """Make a model's outline, as it would be loaded to be trained, for use inside the block.

    Args:
        shapes: from `read_shapes`.
        config: type of the arithmetic, adapters, gradient checkpointing and size of the logits.
    Raises:
        UserError: no causal language model has this configuration.
    """
    with torch.device("meta"):
        try:
            model = AutoModelForCausalLM.from_config(shapes, dtype=torch.float32).eval()
        except ValueError as error:
            raise UserError(f"this is no causal language model: {error_reason(error)}") from None
        set_compute_dtype(model, getattr(torch, config.dtype))
        set_logits_limit(model, config.logits_mib)
        if config.lora.rank is not None:
            add_lora(model, "", config.lora, 0)
        if config.gradient_checkpointing:
            enable_checkpointing(model)
    with FakeTensorMode():
        _place_on_cpu(model)
        yield model


def _place_on_cpu(model: nn.Module) -> None:
    """Have an outline's tensors say that they are on a CPU, whose ways of computing are then taken.

    Attention of tensors without any device would be the slow one that keeps all its weights.
    """
    made: dict[int, tuple[Tensor, Tensor]] = {}
    for module in model.modules():
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fresh: Tensor = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                    if isinstance(tensor, nn.Parameter):
                        fresh = nn.Parameter(fresh, requires_grad=tensor.requires_grad)
                    # The old one is kept, so that no other has its id meanwhile.
                    made[id(tensor)] = (tensor, fresh)
                table[name] = made[id(tensor)][1]


def layers_alike(model: Any) -> nn.ModuleList | None:
    """The layers of a model's outline, where each is like all others and counts as much."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        return None
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    looks = {
        tuple((name, type(each), each.shape, each.dtype) for name, each in layer.named_parameters())
        for layer in layers
    }
    return layers if len(looks) == 1 and len(set(kinds)) <= 1 else None


@contextmanager
def shortened(model: Any, num_layers: int) -> Iterator[None]:
    """Inside the block a model's outline has its first layers alone (see `layers_alike`)."""
    base = model.base_model
    whole = base.layers
    base.layers = nn.ModuleList(list(whole)[:num_layers])
    try:
        yield
    finally:
        base.layers = whole

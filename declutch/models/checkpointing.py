"""Gradient checkpointing: keep only the states between a model's layers, compute the rest again.

transformers does so in training mode alone, while the policy that learns runs in evaluation mode,
as it sampled. Inside `checkpointing`, the layers are told that they are training and nothing else
is, so that there is no dropout anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from declutch.ground.errors import UserError


def enable_checkpointing(model: Any) -> None:
    """Have a model's layers use gradient checkpointing inside `checkpointing`.

    Raises:
        UserError: the architecture has no layers that can.
    """
    layers = _layers(model)
    if not layers:
        raise UserError(
            f"model.gradient_checkpointing=true: {type(model).__name__} has no layers that can be "
            "computed again; set it to false"
        )
    try:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise UserError(f"model.gradient_checkpointing=true: {error}; set it to false") from None
    for layer in layers:
        # Some layers call dropout by their own mode and rate.
        for name, value in vars(layer).items():
            if "dropout" in name and isinstance(value, float):
                setattr(layer, name, 0.0)


def is_checkpointing(model: nn.Module) -> bool:
    """Whether gradient checkpointing is on just now, so that layers will be computed again."""
    return any(layer.training and layer.gradient_checkpointing for layer in _layers(model))


@contextmanager
def checkpointing(model: nn.Module) -> Iterator[None]:
    """Switch on a model's gradient checkpointing inside the block, if it was enabled."""
    layers = [layer for layer in _layers(model) if layer.gradient_checkpointing]
    before = [layer.training for layer in layers]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer, was_training in zip(layers, before, strict=True):
            layer.training = was_training


def _layers(model: nn.Module) -> list[GradientCheckpointingLayer]:
    return [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]

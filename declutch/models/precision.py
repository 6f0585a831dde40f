"""In which precision a loaded model computes: weights stay exact, arithmetic may be bfloat16.

A step of AdamW at a usual learning rate is smaller than the spacing of bfloat16 numbers, so that
weights of that type would hardly ever move. The weights that are trained are therefore float32
whatever `model.dtype` says, and the arithmetic is done in that type, by autocasting.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

_COMPUTED_IN = "declutch_compute_dtype"
"""Attribute of a model whose arithmetic is of another type than its weights; copies keep it."""


def set_compute_dtype(model: Any, dtype: torch.dtype) -> None:
    """Set the precision of a model's arithmetic, which may be lower than that of its weights."""
    model.__dict__.pop(_COMPUTED_IN, None)
    if dtype != model.dtype:
        setattr(model, _COMPUTED_IN, dtype)


def compute_dtype(model: Any) -> torch.dtype:
    """The precision that a model's attention computes in: that of its weights, or a lower one."""
    lower: torch.dtype | None = getattr(model, _COMPUTED_IN, None)
    return model.dtype if lower is None else lower


def computing(model: Any) -> AbstractContextManager[Any]:
    """Compute forward passes inside the block in the precision that was set for the model."""
    lower: torch.dtype | None = getattr(model, _COMPUTED_IN, None)
    if lower is None:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=lower)


def is_exact(model: Any) -> bool:
    """Whether two ways of computing a model's numbers differ by single precision's rounding."""
    return compute_dtype(model) in (torch.float32, torch.float64)

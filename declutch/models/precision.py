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


class CastKeeper:
    """Keeps the lower precision copies of a model's weights from one forward pass to the next.

    Autocasting makes them anew in every block of `computing`, which for a step of decoding is most
    of the work. The weights must not change in between.
    """

    def __init__(self) -> None:
        self._is_keeping = False

    def begin(self) -> None:
        """Keep the copies from now on."""
        if not self._is_keeping:
            torch.autocast_increment_nesting()
            self._is_keeping = True

    def end(self) -> None:
        """Let go of them."""
        if self._is_keeping:
            self._is_keeping = False
            if torch.autocast_decrement_nesting() == 0:
                torch.clear_autocast_cache()


def use_tf32(device: torch.device) -> None:
    """Have a GPU multiply matrices of float32 numbers in TF32, several times as fast.

    Its products have ten bits behind the point; the sums are exact. A CPU computes as before.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def is_exact(model: Any) -> bool:
    """Whether two ways of computing a model's numbers differ by single precision's rounding."""
    has_tf32 = torch.get_float32_matmul_precision() != "highest"
    if model.device.type == "cuda" and has_tf32 and compute_dtype(model) == torch.float32:
        return False
    return compute_dtype(model) in (torch.float32, torch.float64)


def needs_mask(model: Any) -> bool:
    """Whether attention in a loaded model's precision is fast only with its mask written out.

    On CUDA, PyTorch's attention of float32 numbers keeps the weights of all pairs of tokens where
    several heads of queries share one of keys. Beside a mask transformers repeats these keys, and
    another kernel is taken.
    """
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None)
    return (
        model.device.type == "cuda"
        and compute_dtype(model) == torch.float32
        and getattr(model.config, "_attn_implementation", None) == "sdpa"
        and getattr(config, "num_key_value_heads", heads) != heads
    )

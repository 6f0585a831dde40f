"""The mode that a model is in while it samples, learns or is looked at: evaluation, no dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module, modules: Sequence[nn.Module] | None = None) -> Iterator[None]:
    """Put a model in evaluation mode inside the block; each module gets its own mode back.

    The policy that is trained must be the one that sampled, which had no dropout.

    Args:
        modules: all modules of the model, where the caller has them; None lists them.
    """
    training = [m for m in (model.modules() if modules is None else modules) if m.training]
    # Setting the mode of every module takes long beside a small model's pass.
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True

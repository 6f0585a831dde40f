"""What the learner asks of a model besides its forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode inside the block: no dropout, as when it sampled.

    The policy that is trained must be the one that sampled.
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

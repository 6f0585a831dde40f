"""What the learner asks of a model besides its forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def vocabulary_size(model: Any) -> int:
    """What the learner asks of a model besides its mode: the width V of its logits."""
    head = model.get_output_embeddings()
    if head is not None:
        return int(head.weight.shape[0])
    return int(model.config.get_text_config().vocab_size)

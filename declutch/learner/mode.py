"""What the learner asks of a model besides its forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch dropout off inside the block: the policy trained must be the one that sampled."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def vocabulary_size(model: Any) -> int:
    """The width V of a causal language model's logits."""
    head = model.get_output_embeddings()
    if head is not None:
        return int(head.weight.shape[0])
    return int(model.config.get_text_config().vocab_size)

"""The protocol of every sampling engine: prompt token ids in, sampled token ids out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from declutch.records import Completion, Request, SamplingParams


class Engine(Protocol):
    """The protocol of the rollout's engines, which sample a language model's responses.

    An engine keeps nothing between calls but the model's weights.
    """

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        generator: torch.Generator,
    ) -> list[Completion]:
        """Sample one response per request, in order; the generator's state decides every draw."""
        ...

    def sync(self, model: nn.Module) -> None:
        """Sample with the weights that `model` has now; to be called after every update of them."""
        ...


def is_exact(engine: Engine) -> bool:
    """Whether a rollout engine's log-probabilities are the learner's but for rounding.

    An engine says so by an attribute `is_exact`; one that does not is taken for another program.
    """
    return bool(getattr(engine, "is_exact", False))


def max_prompt_tokens(engine: Engine, params: SamplingParams) -> int | None:
    """How many tokens a prompt to an engine may have for such responses; None for no bound.

    An engine says so by a method `max_prompt_tokens(params)`.
    """
    ask = getattr(engine, "max_prompt_tokens", None)
    return None if ask is None else ask(params)

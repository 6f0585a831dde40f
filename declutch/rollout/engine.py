"""The protocol every sampling engine implements: prompt token ids in, sampled token ids out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from declutch.records import Completion, Request, SamplingParams


class Engine(Protocol):
    """Samples responses; keeps no state between calls but the weights."""

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        generator: torch.Generator,
    ) -> list[Completion]:
        """One completion per request, in order; deterministic given the generator's state."""
        ...

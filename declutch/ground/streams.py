"""Random streams that are a function of (seed, name, iteration) and of nothing else.

Every use of randomness has a stream of its own, made afresh at every iteration: what one part
draws cannot shift another, and a resumed run needs no generator state to continue exactly.
"""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, name: str, iteration: int = 0) -> torch.Generator:
    """The random stream (a generator) of one use of randomness in one iteration of a seed."""
    digest = hashlib.sha256(f"{seed}/{name}/{iteration}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

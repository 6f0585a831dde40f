"""Settings of the diagnostics of coupling that are measured while a run trains."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from declutch.config.section import Section


class CouplingConfig(Section):
    """Settings of the gradient cosines that a run measures on steps which its policy plays."""

    every: int = Field(default=0, ge=0)
    """Iterations of training from one measurement to the next, the first before any training;
    0 measures nothing. Training itself comes out the same."""
    samples: int = Field(default=50, ge=2)
    """How many steps each of the four populations has: good and bad, in domain and out of it. Where
    one of them is hard to find, all four have as many as it has."""
    steps_per_episode: int = Field(default=5, ge=1)
    """How many steps of an episode are used, at most, drawn at random."""
    max_episodes: int = Field(default=128, ge=2)
    """How many episodes of each domain are played to find these steps, at most."""
    in_level: str = "L0"
    """The level whose steps are in domain."""
    out_level: str = "L2"
    """The level whose steps are out of domain."""
    label: Literal["outcome", "oracle"] = "outcome"
    """What makes a step good: that its episode was won, or the oracle's label of the step itself;
    steps without one are not used."""
    reduce: Literal["tokens", "samples", "unit"] = "tokens"
    """What a population's gradient is the mean of: its tokens; its samples, each the mean of its
    tokens; or its samples' gradients at unit norm."""

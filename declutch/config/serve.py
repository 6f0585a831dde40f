"""Settings of `declutch serve`: what one client may ask of the server that all share."""

from __future__ import annotations

from pydantic import Field

from declutch.config.section import Section


class ServeConfig(Section):
    """Settings of `declutch serve`: the limits that keep one client from taking it all."""

    max_body_bytes: int = Field(default=4_000_000, ge=1000)
    """How many bytes the body of a request may have; a longer one is refused with status 413."""
    max_waiting: int = Field(default=256, ge=1)
    """How many requests may be under way at once; one more is refused with status 429 and told when
    to come back."""
    max_connections: int = Field(default=512, ge=1)
    """How many connections may be open at once; one more is closed with status 503."""
    receive_seconds: float = Field(default=30.0, gt=0)
    """How many seconds a client may take to send a request; a slower one is cut off."""
    turn_tokens: int = Field(default=32, ge=1)
    """After how many tokens an answer lets others have their turn, if any wait for theirs. Fewer
    share the model more evenly; each turn computes the prompt and what was sampled anew."""

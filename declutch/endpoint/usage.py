"""Count what requests to a language model consume, and compare it with the budget."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from declutch.config.judge import EndpointConfig
from declutch.endpoint.chat import ChatRequest

CHARACTERS_PER_TOKEN = 4
"""In English text, roughly; used where a server does not say how many tokens there were."""


@dataclass(frozen=True)
class Usage:
    """The usage of an endpoint: what requests consumed in calls, tokens, cost and time.

    The difference of two accounts is what was consumed between them.

    Attributes:
        calls: HTTP requests sent.
        cached: requests answered from the cache, or by an equal request of the same batch.
        retries: those of the calls that repeated one that had failed.
        failed: requests that came back without a text.
        prompt_tokens, completion_tokens: of the answered calls, as the server counts them.
        cost: by the prices in the settings, in their unit.
        seconds: wall time spent waiting for replies.
    """

    calls: int = 0
    cached: int = 0
    retries: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of prompts and replies together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Usage) -> Usage:
        return Usage(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


def count_tokens(text: str) -> int:
    """For an endpoint's usage, estimate a text's tokens from its number of characters."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def account_call(prompt_tokens: int, completion_tokens: int, config: EndpointConfig) -> Usage:
    """Account for an endpoint's usage by one answered call: its tokens, and their cost."""
    cost = prompt_tokens * config.prompt_price + completion_tokens * config.completion_price
    return Usage(
        calls=1,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=cost / 1e6,
    )


def bound_usage(request: ChatRequest, config: EndpointConfig) -> Usage:
    """Bound an endpoint's usage by one call: the tokens of its prompt, and of the longest reply."""
    prompt = sum(count_tokens(content) for _, content in request.messages)
    return account_call(prompt, request.max_tokens, config)


def name_exceeded_limit(usage: Usage, config: EndpointConfig) -> str:
    """Name the limit that an endpoint's usage exceeds, as "endpoint.max_calls=100"; "" for none."""
    limits = (
        ("max_calls", config.max_calls, usage.calls),
        ("max_tokens", config.max_tokens, usage.tokens),
        ("max_cost", config.max_cost, usage.cost),
    )
    over = (f"endpoint.{name}={limit:g}" for name, limit, used in limits if _is_over(used, limit))
    return next(over, "")


def _is_over(used: float, limit: float | None) -> bool:
    return limit is not None and used > limit

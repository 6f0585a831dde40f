"""How the rest of the package asks a language model: requests, replies, and who answers them.

Nothing here knows of networks; `client` has the implementation that asks a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ChatRequest:
    """A chat request to a language model: the conversation so far, and how the reply is sampled.

    Attributes:
        messages: (role, content) pairs, oldest first; roles are "system", "user", "assistant".
        max_tokens: how many tokens the reply may have.
        temperature: of sampling, >= 0.
        attempt: tells requests apart that put the same question several times, since requests that
            are equal may all be given the same reply.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    attempt: int = 0


@dataclass(frozen=True)
class ChatReply:
    """What a chat with a language model gave for one request, or why it gave nothing.

    Attributes:
        text: the reply, None where there is none.
        error: why there is none, "" where there is one.
    """

    text: str | None
    error: str = ""


class Chat(Protocol):
    """The chat with a language model, wherever it runs: what labels and suggestions need."""

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer every request, in order; a request that failed has a reply without text."""
        ...

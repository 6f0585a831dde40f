"""What the rest of the package knows of a language model behind a network: ask, reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ChatRequest:
    """One question.

    Attributes:
        messages: (role, content) pairs, oldest first; roles are "system", "user", "assistant".
        max_tokens: of the reply, at most.
        temperature: >= 0.
        attempt: number of the ask where the same question is put several times; equal requests
            may be given one reply.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    attempt: int = 0


@dataclass(frozen=True)
class ChatReply:
    """What came back.

    Attributes:
        text: the answer, None where there is none.
        error: why there is none.
    """

    text: str | None
    error: str = ""


class Chat(Protocol):
    """Answers questions, many at once."""

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """One reply per request, in order; a request that fails is a reply without text."""
        ...

"""The dialects of chat servers: what a server takes in a request, and where its reply says what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from declutch.endpoint.chat import ChatRequest


@dataclass
class Dialect:
    """The dialect that an endpoint's server turned out to speak, learned from its refusals.

    Attributes:
        limit: the parameter that bounds a reply's tokens; newer servers take only the second name.
        has_temperature: whether a temperature is taken.
    """

    limit: str = "max_tokens"
    has_temperature: bool = True

    def parameters(self, request: ChatRequest) -> dict[str, Any]:
        """The parameters of a request beside its model and messages."""
        chosen: dict[str, Any] = {self.limit: request.max_tokens}
        if self.has_temperature:
            chosen["temperature"] = request.temperature
        return chosen

    def learn(self, sent: dict[str, Any], refusal: str) -> bool:
        """Learn from why a server refused what was sent; whether to ask again in another way."""
        if "max_tokens" in sent and "max_completion_tokens" in refusal:
            self.limit = "max_completion_tokens"
            return True
        if "max_completion_tokens" in sent and _names(refusal, "max_completion_tokens"):
            self.limit = "max_tokens"
            return self.limit not in refusal.replace("max_completion_tokens", "")
        if "temperature" in sent and _names(refusal, "temperature"):
            self.has_temperature = False
            return True
        return False


@dataclass(frozen=True)
class Said:
    """What was said in a reply, wherever a chat server's dialect puts it.

    Attributes:
        text: None where it holds no text; then `error` says why.
        is_cut: the limit of tokens ended it before there was a text.
        status: of an error inside a reply that came with status 200, 0 where it names none.
    """

    text: str | None
    error: str = ""
    is_cut: bool = False
    status: int = 0


def read_reply(data: Any) -> Said:
    """Understand a reply in any known dialect of chat servers: the text, or why there is none.

    A text is in `content`, whole or in parts; where that is empty, models that reason put it into
    `reasoning_content`.
    """
    if not isinstance(data, dict):
        return Said(None, "the reply holds no text")
    if data.get("error"):
        return _read_error(data["error"])
    try:
        choice = data["choices"][0]
        message = choice["message"]
        content = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Said(None, "the reply holds no text")
    text = _join(content)
    if text:
        return Said(text)
    reason = choice.get("finish_reason")
    if reason == "length":
        return Said(None, "the limit of tokens ended the reply before its text", is_cut=True)
    text = _join(message.get("reasoning_content")) or _join(message.get("reasoning"))
    if text:
        return Said(text)
    ended = f" (finish_reason {reason})" if isinstance(reason, str) else ""
    return Said(None, f"the reply holds no text{ended}")


def _read_error(error: Any) -> Said:
    """An error that came in the place of a reply, though the status said that all was well."""
    if not isinstance(error, dict):
        return Said(None, f"the server replied with an error: {error}")
    status = next((error[k] for k in ("code", "status") if isinstance(error.get(k), int)), 0)
    message = error.get("message") or error.get("type") or "without a message"
    return Said(None, f"the server replied with an error: {message}", status=status)


def _join(content: Any) -> str:
    """A text that is whole or in parts; "" where there is nothing but white space."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) and content.strip() else ""


def _names(text: str, parameter: str) -> bool:
    return re.search(rf"\b{parameter}\b", text) is not None

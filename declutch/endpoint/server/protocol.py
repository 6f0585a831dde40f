"""The chat-completions protocol as data: what a request may say, and how replies are worded.

What would change the answer and is not served is refused, never passed over in silence; what
changes nothing here (`user`, `metadata`, and their like) is let through.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

UNSERVED = (
    *("stream", "tools", "functions", "tool_choice", "function_call", "logprobs", "top_logprobs"),
    *("logit_bias", "presence_penalty", "frequency_penalty", "audio", "top_k", "min_p"),
    *("repetition_penalty", "guided_json", "guided_choice", "guided_regex", "guided_grammar"),
)
"""Parameters that are refused unless they say "as usual": null, false, 0, "none", or empty."""

Text = Annotated[str, StringConstraints(min_length=1)]


class RequestError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        param: the parameter at fault, None where it is none.
        code: a word for programs, None where there is no standard one.
    """

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    @property
    def text(self) -> str:
        """All of its text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatBody(BaseModel):
    """What the body of a request may say; a null is as good as an absent value."""

    model_config = ConfigDict(strict=True)

    model: Text
    messages: list[Message] = Field(min_length=1)
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=16)] | None = None
    seed: int | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer and are no part of it."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


@dataclass(frozen=True)
class Answer:
    """One choice.

    Attributes:
        text: without what ended it.
        num_tokens: sampled, the end included.
        is_truncated: it ran into the limit of tokens.
    """

    text: str
    num_tokens: int
    is_truncated: bool


def parse_body(body: bytes) -> ChatBody:
    """Read a request.

    Raises:
        RequestError: 400, naming the parameter at fault.
    """
    try:
        data = json.loads(body)
    except ValueError as error:
        raise RequestError(400, f"the body is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise RequestError(400, f"the body must be a JSON object, not {type(data).__name__}")
    for name in UNSERVED:
        if data.get(name) not in (None, False, 0, "none", [], {}):
            message = f"{name!r} is not served here; leave it out"
            raise RequestError(400, message, name, "unsupported_parameter")
    form = data.get("response_format") or {"type": "text"}
    if form != {"type": "text"}:
        message = "'response_format' is not served here other than as text; leave it out"
        raise RequestError(400, message, "response_format", "unsupported_parameter")
    try:
        return ChatBody.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = [str(part) for part in problem["loc"]]
        # What follows the first two parts names branches of a union, not parts of the request.
        param = ".".join(where[:3] if where[0] == "messages" else where[:1])
        code = "missing_required_parameter" if problem["type"] == "missing" else None
        raise RequestError(400, f"{param}: {problem['msg'].lower()}", param, code) from None


def completion_body(model: str, prompt_tokens: int, answers: Sequence[Answer]) -> dict[str, Any]:
    """The reply to a request, one choice per answer."""
    completion_tokens = sum(answer.num_tokens for answer in answers)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": answer.text},
                "finish_reason": "length" if answer.is_truncated else "stop",
                "logprobs": None,
            }
            for index, answer in enumerate(answers)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def models_body(model: str, created: int) -> dict[str, Any]:
    """The list of what is served."""
    card = {"id": model, "object": "model", "created": created, "owned_by": "declutch"}
    return {"object": "list", "data": [card]}


def error_body(error: RequestError) -> dict[str, Any]:
    """An error as the protocol words it."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "error": {
            "message": str(error),
            "type": kind,
            "param": error.param,
            "code": error.code,
        }
    }

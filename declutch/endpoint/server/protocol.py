"""The chat-completions protocol as data: read requests, and word replies and errors.

A parameter that would change the answer and is not served is refused, never silently ignored. What
changes nothing here, such as `user` and `metadata`, is let through.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from declutch.ground.contents import parse_json

UNSERVED = (
    *("stream", "tools", "functions", "tool_choice", "function_call", "logprobs", "top_logprobs"),
    *("logit_bias", "presence_penalty", "frequency_penalty", "audio", "top_k", "min_p"),
    *("repetition_penalty", "guided_json", "guided_choice", "guided_regex", "guided_grammar"),
)
"""Parameters of requests that are refused, unless their value is one that asks for nothing: null,
false, 0, "none", or empty."""

LEAST_TEMPERATURE = 1e-3
"""The least temperature other than 0; below it scores overflow, and nothing is gained over 0."""
Text = Annotated[str, StringConstraints(min_length=1)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _check_temperature(value: float) -> float:
    if 0 < value < LEAST_TEMPERATURE:
        raise ValueError(
            f"should be 0, which takes the most likely token, or {LEAST_TEMPERATURE:g}"
        )
    return value


class RequestError(Exception):
    """A chat request that the server's protocol cannot serve, and the error that answers it.

    Attributes:
        status: the HTTP status of the answer.
        param: the parameter at fault, None where no single one is.
        code: the protocol's word for the error, for programs; None where it has none.
        retry_seconds: when the same request may be served, 0 where that is not known.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_seconds: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_seconds = retry_seconds


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a chat request in the server's protocol: who speaks, and the text.

    The text is whole or in parts.
    """

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    @property
    def text(self) -> str:
        """The message's whole text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatBody(BaseModel):
    """The body of a chat request in the server's protocol; a null counts as an absent value."""

    model_config = ConfigDict(strict=True)

    model: Text
    messages: list[Message] = Field(min_length=1)
    temperature: Annotated[float, Field(ge=0, le=2), AfterValidator(_check_temperature)] | None = (
        None
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    seed: int | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer without being part of it."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


@dataclass(frozen=True)
class Answer:
    """One answer to a chat request, which the server's protocol calls a choice.

    Attributes:
        text: the answer, without the token or text that ended it.
        num_tokens: how many tokens were sampled, the one that ended it included.
        is_truncated: whether it was ended by the limit of tokens.
    """

    text: str
    num_tokens: int
    is_truncated: bool


def parse_body(body: bytes) -> ChatBody:
    """Read the body of a chat request to the server, as the chat-completions protocol has it.

    Raises:
        RequestError: 400, naming the parameter at fault.
    """
    try:
        data = parse_json(body)
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
        # Later parts of the place name branches of a union type, which a request does not have.
        param = ".".join(where[:3] if where[0] == "messages" else where[:1])
        code = "missing_required_parameter" if problem["type"] == "missing" else None
        raise RequestError(400, f"{param}: {problem['msg'].lower()}", param, code) from None


def write_completion(model: str, prompt_tokens: int, answers: Sequence[Answer]) -> dict[str, Any]:
    """Word the server's reply to a chat request in the form of its protocol.

    There is one choice for each answer.
    """
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


def write_models(model: str, created: int) -> dict[str, Any]:
    """Word the list of served models in the server's protocol; it holds one."""
    card = {"id": model, "object": "model", "created": created, "owned_by": "declutch"}
    return {"object": "list", "data": [card]}


def write_error(error: RequestError) -> dict[str, Any]:
    """Word, in the server's protocol, the error for a chat request that cannot be served."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "error": {
            "message": str(error),
            "type": kind,
            "param": error.param,
            "code": error.code,
        }
    }

"""Ask an OpenAI-compatible server many questions at once, with retries and within a budget.

A reply comes from the cache or from the server, or it is an error that says why there is none.
Calls that failed for a reason that may pass (status 429 or 5xx, a time-out, a dropped connection)
are repeated; others (another 4xx, a body without text) are not. No other module knows the key, and
it is struck out of every text that leaves this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import openai

from declutch.config.judge import EndpointConfig
from declutch.endpoint.cache import ReplyCache, cache_key
from declutch.endpoint.chat import ChatReply, ChatRequest
from declutch.endpoint.dialect import Dialect, read_reply
from declutch.endpoint.replies import ReplyRefusedError, clean_text, open_client
from declutch.endpoint.usage import (
    Usage,
    account_call,
    bound_usage,
    count_tokens,
    name_exceeded_limit,
)
from declutch.ground.errors import UserError

BASE_URL_VARIABLE: Final = "OPENAI_BASE_URL"
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 60.0
_MORE_ROOM = 4
"""How many times more tokens a reply may have, asked once more, that was cut before its text."""
_MAX_OTHER_WAYS = 3
"""How often a request is put in another way that its server asks for."""
_MIN_EXHAUSTED = 3
"""Requests in a row that must have run out of retries before a server is taken for dead."""
_SECRET_LENGTH = 8
"""Characters from which on a key is struck out of texts; a shorter one would hit common words."""
_MOST_TOKENS = 10**9
"""More tokens than any call has; a server that counts more is not believed."""
_ERROR_LENGTH = 200
"""Characters of a server's own error message that are kept."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds; tests pass one that does not wait."""


@dataclass(frozen=True)
class _Answer:
    """What one call of the server came to.

    Attributes:
        text: None where there is none; then `error` says why.
        may_pass: whether the same call might be answered if it is repeated later.
        wait_seconds: how long the server asks to wait before that, 0 where it does not say.
        is_misunderstood: the server wants to be asked in another way, which has been learned.
        is_cut: the limit of tokens ended the reply before its text.
        usage: what the call consumed.
    """

    text: str | None = None
    error: str = ""
    may_pass: bool = False
    wait_seconds: float = 0.0
    is_misunderstood: bool = False
    is_cut: bool = False
    usage: Usage = field(default_factory=lambda: Usage(calls=1))


@dataclass
class _Batch:
    """What the requests of one `ask` share.

    Attributes:
        client: the open connection to the server.
        open: limits the calls under way to `max_concurrency`.
        settled: notified whenever a call has ended.
        under_way: for each call under way, the most that it may consume.
        num_exhausted: how many requests in a row ran out of retries; after enough of them the
            server is taken for dead, and the rest of the batch is not sent.
        last_error: of the last of these requests.
    """

    client: openai.AsyncOpenAI
    open: asyncio.Semaphore
    settled: asyncio.Condition
    under_way: list[Usage] = field(default_factory=list)
    num_exhausted: int = 0
    last_error: str = ""


class Endpoint:
    """The HTTP client of a language model behind an OpenAI-compatible server; see `open_endpoint`.

    Args:
        config: the model's name, the limits of a call, the budget, and the cache.
        base_url: of the server, ending in its version, e.g. "http://localhost:8000/v1".
        key: "" for a server that asks for none.
        sleep: waits before a retry and for the rate limit.
    """

    def __init__(
        self, config: EndpointConfig, base_url: str, key: str, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._config = config
        self._base_url = base_url
        self._key = key
        self._sleep = sleep
        self._cache = ReplyCache(config.cache_dir)
        self._jitter = random.Random()
        self._next_start = 0.0
        self._usage = Usage()
        self._dialect = Dialect()

    @property
    def usage(self) -> Usage:
        """What all requests so far consumed."""
        return self._usage

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer every request, in order, from the cache or by the server; send equal ones once.

        Raises:
            UserError: the cache cannot be written.
        """
        began = time.perf_counter()
        keys = [cache_key(self._config.model, request) for request in requests]
        found = {key: self._cache.read(key) for key in dict.fromkeys(keys)}
        missing = {k: r for k, r in zip(keys, requests, strict=True) if found[k] is None}
        asked = asyncio.run(self._ask_all(missing)) if missing else {}
        replies = [asked[key] if key in asked else self._cached(found[key]) for key in keys]
        self._usage += Usage(
            cached=len(requests) - len(missing),
            failed=sum(reply.text is None for reply in replies),
            seconds=time.perf_counter() - began,
        )
        return replies

    def _cached(self, text: str | None) -> ChatReply:
        return ChatReply(None if text is None else self._clean(text))

    def count_cached(self, requests: Sequence[ChatRequest]) -> int:
        """Count the requests that the cache would answer without a call of the server."""
        keys = (cache_key(self._config.model, request) for request in requests)
        return sum(self._cache.read(key) is not None for key in keys)

    async def _ask_all(self, requests: dict[str, ChatRequest]) -> dict[str, ChatReply]:
        async with open_client(
            self._base_url, self._key, self._config.timeout_seconds, self._config.max_reply_bytes
        ) as client:
            lanes = asyncio.Semaphore(self._config.max_concurrency)
            batch = _Batch(client, lanes, asyncio.Condition())
            replies = await asyncio.gather(
                *(self._ask_one(batch, key, request) for key, request in requests.items())
            )
        return dict(zip(requests, replies, strict=True))

    async def _ask_one(self, batch: _Batch, key: str, request: ChatRequest) -> ChatReply:
        async with batch.open:
            answer, number, others = _Answer(), 0, _MAX_OTHER_WAYS
            while True:
                if number:
                    await self._sleep(self._backoff(number, answer.wait_seconds))
                refusal = self._refuse_dead(batch) or await self._reserve(batch, request)
                if refusal:
                    return ChatReply(None, refusal)
                self._usage += Usage(retries=int(number > 0))
                answer = await self._call(batch, request)
                # Asked in another way, or with more room, a request is no repetition.
                if others and answer.is_cut:
                    others = 0
                    request = replace(request, max_tokens=request.max_tokens * _MORE_ROOM)
                elif others and answer.is_misunderstood:
                    others -= 1
                elif answer.may_pass and number < self._config.max_retries:
                    number += 1
                else:
                    break
        if answer.may_pass:
            batch.num_exhausted += 1
            batch.last_error = answer.error
        else:
            batch.num_exhausted = 0
        if answer.text is not None:
            self._cache.write(key, self._config.model, answer.text)
        return ChatReply(answer.text, answer.error)

    def _refuse_dead(self, batch: _Batch) -> str:
        """Why a request is not sent to a server that is taken for dead; "" to send it."""
        if batch.num_exhausted < max(_MIN_EXHAUSTED, self._config.max_concurrency):
            return ""
        return (
            f"not asked, as {batch.num_exhausted} requests before it were given up, the last: "
            f"{batch.last_error}"
        )

    async def _reserve(self, batch: _Batch, request: ChatRequest) -> str:
        """Set the most that one call may consume aside from the budget.

        Calls under way have mostly set aside more than they need, so where the budget is short
        their end is waited for.

        Returns:
            Why the call may not start, or "".
        """
        most = bound_usage(request, self._config)
        async with batch.settled:
            while name_exceeded_limit(sum([most, *batch.under_way], self._usage), self._config):
                limit = name_exceeded_limit(self._usage + most, self._config)
                if limit:
                    return f"the budget is used up: {limit} leaves no room for another call"
                await batch.settled.wait()
            batch.under_way.append(most)
        return ""

    async def _call(self, batch: _Batch, request: ChatRequest) -> _Answer:
        """Make one call of the server, count it, and return what was set aside for it."""
        await self._wait_for_turn()
        answer = await self._send(batch.client, request)
        async with batch.settled:
            batch.under_way.remove(bound_usage(request, self._config))
            self._usage += answer.usage
            batch.settled.notify_all()
        return answer

    async def _wait_for_turn(self) -> None:
        if self._config.requests_per_minute is None:
            return
        now = time.monotonic()
        start = max(now, self._next_start)
        self._next_start = start + 60 / self._config.requests_per_minute
        await self._sleep(start - now)

    def _backoff(self, number: int, wait_seconds: float) -> float:
        """Seconds before retry `number`, counted from 1.

        The wait doubles from retry to retry, is shortened at random by up to a half so that
        requests do not come back all at once, and is no less than the server asked for.
        """
        longest = min(_FIRST_WAIT_SECONDS * 2 ** (number - 1), _LONGEST_WAIT_SECONDS)
        jittered = longest * self._jitter.uniform(0.5, 1.0)
        return max(jittered, min(wait_seconds, _LONGEST_WAIT_SECONDS))

    async def _send(self, client: openai.AsyncOpenAI, request: ChatRequest) -> _Answer:
        limit = self._config.timeout_seconds
        messages: Any = [{"role": role, "content": content} for role, content in request.messages]
        parameters = self._dialect.parameters(request)
        try:
            # The client's own limit is on the time between two bytes, which a server that sends
            # one byte at a time never exceeds.
            response = await asyncio.wait_for(
                client.chat.completions.with_raw_response.create(
                    model=self._config.model,
                    messages=messages,
                    **parameters,
                ),
                limit,
            )
        except (TimeoutError, openai.APITimeoutError):
            error = f"no answer within endpoint.timeout_seconds={limit:g}"
            return _Answer(error=error, may_pass=True)
        except ReplyRefusedError as refused:
            return _Answer(error=self._clean(str(refused)))
        except openai.APIStatusError as problem:
            answer = self._read_status(problem)
            if problem.status_code in (400, 422) and self._dialect.learn(
                parameters, str(problem.message)
            ):
                return replace(answer, is_misunderstood=True)
            return answer
        except openai.OpenAIError as problem:
            # Whether the client wraps what is raised while it reads depends on its version.
            if isinstance(problem.__cause__, ReplyRefusedError):
                return _Answer(error=self._clean(str(problem.__cause__)))
            error = f"the connection failed ({type(problem.__cause__ or problem).__name__})"
            return _Answer(error=error, may_pass=True)
        return self._read_body(response.content, request)

    def _read_status(self, problem: openai.APIStatusError) -> _Answer:
        code = problem.status_code
        told = " ".join(self._clean(f"status {code}: {problem.message}").split())
        error = told[:_ERROR_LENGTH]
        if code in (401, 403):
            error += f"; the key is read from the variable {self._config.api_key_env}"
        return _Answer(
            error=error,
            may_pass=code in (408, 429) or code >= 500,
            wait_seconds=_seconds(problem.response.headers.get("retry-after", "")),
        )

    def _read_body(self, content: bytes, request: ChatRequest) -> _Answer:
        try:
            data = json.loads(content)
        # Numbers of thousands of digits are a ValueError, too.
        except (ValueError, RecursionError):
            return _Answer(error="the reply is not JSON")
        said, counted = read_reply(data), data.get("usage") if isinstance(data, dict) else None
        counts = counted if isinstance(counted, dict) else {}
        asked = sum(count_tokens(content) for _, content in request.messages)
        usage = account_call(
            _count(counts.get("prompt_tokens"), asked),
            _count(counts.get("completion_tokens"), count_tokens(said.text or "")),
            self._config,
        )
        if said.text is None:
            error = self._clean(said.error)[:_ERROR_LENGTH]
            may_pass = said.status in (408, 429) or said.status >= 500
            return _Answer(error=error, may_pass=may_pass, is_cut=said.is_cut, usage=usage)
        return _Answer(self._clean(said.text), usage=usage)

    def _clean(self, text: str) -> str:
        """Take the key out of a text, as a server may quote it, and what is no text, too."""
        text = clean_text(text)
        if len(self._key) >= _SECRET_LENGTH:
            text = text.replace(self._key, "[key]")
        return text


def open_endpoint(config: EndpointConfig, sleep: Sleep = asyncio.sleep) -> Endpoint:
    """Open the client that all questions to the language model of section `endpoint` go through.

    The server's address and the key may come from environment variables; nothing is sent yet.

    Raises:
        UserError: no model or no server is named, or the key cannot be sent.
    """
    if not config.model:
        raise UserError("endpoint.model is empty: name the model that the endpoint is to answer by")
    # The openai package itself reads its server's address from this variable, too.
    base_url = config.base_url or os.environ.get(BASE_URL_VARIABLE, "")
    if not base_url:
        raise UserError(
            "endpoint.base_url is empty: give the server's address, e.g. "
            f"http://localhost:8000/v1, or set the variable {BASE_URL_VARIABLE}"
        )
    key = os.environ.get(config.api_key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"the key in the variable {config.api_key_env} holds characters that no key has"
        )
    return Endpoint(config, base_url, key, sleep)


def _count(value: Any, otherwise: int) -> int:
    """A number of tokens in a reply, or `otherwise` where it is none that a call can have."""
    is_count = type(value) is int and 0 <= value <= _MOST_TOKENS
    return value if is_count else otherwise


def _seconds(text: str) -> float:
    """A Retry-After header in seconds; 0 for a date or nonsense, where doubling waits must do."""
    return float(text) if text.isdecimal() and text.isascii() else 0.0

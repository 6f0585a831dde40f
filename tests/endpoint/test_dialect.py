"""Servers that take other parameters, or put their text elsewhere than usual."""

from pathlib import Path

import pytest
from chat_server import GOOD, chat_server, completion

from declutch.config.judge import EndpointConfig
from declutch.endpoint.chat import ChatRequest
from declutch.endpoint.client import Endpoint, open_endpoint
from declutch.endpoint.dialect import read_reply


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


async def no_wait(seconds: float) -> None:
    del seconds


def endpoint(server, **changes) -> Endpoint:
    given = {"model": "m", "base_url": server.url, "cache_dir": None, "max_retries": 0}
    return open_endpoint(EndpointConfig.model_validate({**given, **changes}), no_wait)


def ask(server, *texts: str, **changes):
    requests = [ChatRequest((("user", text),), 50, 0.5) for text in texts or ("q",)]
    chat = endpoint(server, **changes)
    return chat.ask(requests), chat


def refuse(parameter: str, other: str = ""):
    hint = f" Use '{other}' instead." if other else ""
    message = f"Unsupported parameter: '{parameter}' is not supported with this model.{hint}"
    return (400, {"error": {"message": message, "param": parameter}})


def strict(number, body):
    """A server that wants the newer name of the limit, and no temperature."""
    if "max_tokens" in body:
        return refuse("max_tokens", "max_completion_tokens")
    return refuse("temperature") if "temperature" in body else GOOD


def test_a_server_is_asked_in_the_way_it_wants() -> None:
    with chat_server(strict) as server:
        (reply,), chat = ask(server)
    assert reply.text == GOOD
    *_, last = server.calls
    assert (last["max_completion_tokens"], "max_tokens" in last, "temperature" in last) == (
        50,
        False,
        False,
    )
    assert (chat.usage.calls, chat.usage.retries, chat.usage.failed) == (3, 0, 0)


def test_what_a_server_wants_is_learned_once() -> None:
    with chat_server(strict) as server:
        chat = endpoint(server, max_concurrency=1)
        chat.ask([ChatRequest((("user", "a"),), 50, 0.5)])
        chat.ask([ChatRequest((("user", "b"),), 50, 0.5)])
    assert len(server.calls) == 4


def test_a_server_that_refuses_every_way_is_left_alone() -> None:
    def never(number, body):
        name = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
        return refuse(name, "max_completion_tokens, max_tokens")

    with chat_server(never) as server:
        (reply,), _ = ask(server)
    assert reply.text is None
    assert "status 400" in reply.error
    assert len(server.calls) <= 4


def cut(content=None, **fields):
    message = {"role": "assistant", "content": content, **fields}
    return completion(None, choices=[{"message": message, "finish_reason": "length"}])


def test_a_reply_cut_before_its_text_is_asked_for_once_more_with_more_room() -> None:
    with chat_server(lambda n, _: (200, cut(reasoning_content="hm")) if n == 0 else GOOD) as server:
        (reply,), chat = ask(server)
    assert reply.text == GOOD
    assert [body["max_tokens"] for body in server.calls] == [50, 200]
    assert chat.usage.retries == 0


def test_a_reply_that_is_cut_again_says_so() -> None:
    with chat_server(lambda *_: (200, cut())) as server:
        (reply,), _ = ask(server)
    assert reply.text is None
    assert "limit of tokens" in reply.error
    assert len(server.calls) == 2


def test_more_room_is_bounded_by_the_budget() -> None:
    with chat_server(lambda *_: (200, cut())) as server:
        (reply,), _ = ask(server, max_tokens=150)
    assert "endpoint.max_tokens=150" in reply.error
    assert len(server.calls) == 1


def test_an_error_object_with_status_200_is_an_error() -> None:
    error = {"error": {"message": "the model is loading", "code": 503}}
    with chat_server(lambda n, _: (200, error) if n == 0 else GOOD) as server:
        (reply,), _ = ask(server, max_retries=1)
    assert reply.text == GOOD
    with chat_server(lambda *_: (200, {"error": {"message": "no such model"}})) as server:
        (reply,), chat = ask(server, max_retries=3)
    assert "no such model" in reply.error
    assert chat.usage.calls == 1


@pytest.mark.parametrize(
    ("message", "reason", "text", "error"),
    [
        ({"content": "hi"}, "stop", "hi", ""),
        ({"content": [{"type": "text", "text": "h"}, {"text": "i"}]}, "stop", "hi", ""),
        ({"content": None, "reasoning_content": "hi"}, "stop", "hi", ""),
        ({"content": "", "reasoning": "hi"}, "stop", "hi", ""),
        ({"content": "hi", "reasoning_content": "other"}, "stop", "hi", ""),
        ({"content": None}, "content_filter", None, "finish_reason content_filter"),
        ({"content": None, "reasoning_content": "hm"}, "length", None, "limit of tokens"),
    ],
)
def test_where_a_reply_has_its_text(message, reason, text, error) -> None:
    said = read_reply({"choices": [{"message": message, "finish_reason": reason}]})
    assert said.text == text
    assert error in said.error


def test_a_reply_with_more_room_is_cached_under_the_question_as_it_was(tmp_path: Path) -> None:
    with chat_server(lambda n, _: (200, cut()) if n == 0 else GOOD) as server:
        ask(server, cache_dir=str(tmp_path))
        (reply,), chat = ask(server, cache_dir=str(tmp_path))
    assert reply.text == GOOD
    assert (chat.usage.calls, chat.usage.cached) == (0, 1)

"""The client against a server that misbehaves in every way it can."""

import json
import logging
import threading
import time
from pathlib import Path

import pytest
from chat_server import GOOD, chat_server
from hypothesis import given, settings
from hypothesis import strategies as st

from declutch.config.files import dump_config, parse_config
from declutch.config.judge import EndpointConfig
from declutch.endpoint.chat import ChatRequest
from declutch.endpoint.client import Endpoint, open_endpoint
from declutch.endpoint.usage import Usage
from declutch.ground.errors import UserError

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


class Waits(list):
    """Sleeps that take no time, and how long they would have been."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def endpoint(server: object, waits: Waits | None = None, **changes: object) -> Endpoint:
    settings = {"model": "m", "base_url": server.url, "cache_dir": None, "timeout_seconds": 10}
    config = EndpointConfig.model_validate({**settings, **changes})
    return open_endpoint(config, Waits() if waits is None else waits)


def ask_about(*texts: str, max_tokens: int = 50) -> list[ChatRequest]:
    return [ChatRequest((("system", "s"), ("user", text)), max_tokens, 0.5) for text in texts]


def test_a_question_reaches_the_server_as_it_was_put() -> None:
    with chat_server(GOOD) as server:
        (reply,) = endpoint(server).ask(ask_about("why?"))
    assert (reply.text, reply.error) == (GOOD, "")
    (body,) = server.calls
    assert body["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "why?"},
    ]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 50, 0.5)
    assert server.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("trouble", ["429", "500", "503", "drop", "half", "slow", "drip"])
def test_what_may_pass_is_tried_again(trouble: str) -> None:
    waits = Waits()
    limit = 0.15 if trouble in ("slow", "drip") else 10
    with chat_server(lambda n, _: trouble if n < 2 else GOOD) as server:
        chat = endpoint(server, waits, timeout_seconds=limit)
        (reply,) = chat.ask(ask_about("q"))
    assert reply.text == GOOD
    assert (chat.usage.calls, chat.usage.retries, chat.usage.failed) == (3, 2, 0)
    # Only the answered call is charged for.
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (100, 10)
    first, second = waits
    if trouble == "429":
        assert (first, second) == (7, 7)
    else:
        assert 0.25 <= first <= 0.5 <= second <= 1.0


def test_the_wait_doubles_up_to_a_minute() -> None:
    waits = Waits()
    with chat_server("500") as server:
        (reply,) = endpoint(server, waits, max_retries=10).ask(ask_about("q"))
    assert reply.text is None
    assert "status 500" in reply.error
    for number, wait in enumerate(waits):
        longest = min(0.5 * 2**number, 60)
        assert longest / 2 <= wait <= longest
    assert len(server.calls) == 11


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("400", "status 400"),
        ("401", "OPENAI_API_KEY"),
        ("broken", "not JSON"),
        ("html", "not JSON"),
        ("deep", "not JSON"),
        ("empty", "no text"),
        ("silent", "no text"),
        ("null", "no text"),
        ("shape", "no text"),
    ],
)
def test_what_will_not_pass_is_an_error_at_once(trouble: str, reason: str, tmp_path: Path) -> None:
    with chat_server(trouble) as server:
        chat = endpoint(server, cache_dir=tmp_path)
        (reply,) = chat.ask(ask_about("q"))
    assert reply.text is None
    assert reason in reply.error
    assert KEY not in reply.error
    assert (chat.usage.calls, chat.usage.failed) == (1, 1)
    assert not list(tmp_path.rglob("*.json"))


def test_one_bad_answer_among_good_ones_costs_only_itself() -> None:
    def manner(number: int, body: dict) -> str:
        return {"b": "broken", "c": "nonsense"}.get(body["messages"][1]["content"], GOOD)

    with chat_server(manner) as server:
        replies = endpoint(server).ask(ask_about("a", "b", "c", "d"))
    assert [reply.text is None for reply in replies] == [False, True, False, False]
    assert [replies[0].text, replies[3].text] == [GOOD, GOOD]


def test_half_a_character_can_be_written_to_disk(tmp_path: Path) -> None:
    with chat_server("surrogate") as server:
        (reply,) = endpoint(server, cache_dir=tmp_path).ask(ask_about("q"))
    assert reply.text == "half ? character"


def test_a_dead_server_is_not_asked_for_ever() -> None:
    with chat_server(GOOD) as server:
        server.stop()
        chat = endpoint(server, max_retries=2, max_concurrency=4)
        replies = chat.ask(ask_about(*map(str, range(100))))
    assert {reply.text for reply in replies} == {None}
    assert chat.usage.failed == 100
    # Four requests are given up after three calls each; at most the other lanes were under way.
    assert chat.usage.calls <= (4 + 3) * 3
    assert "not asked" in replies[-1].error


def test_no_more_calls_at_once_than_allowed() -> None:
    lock, three, waiting, most = threading.Lock(), threading.Barrier(3), 0, []

    def manner(number: int, body: dict) -> str:
        # No call is answered before three wait; a fourth has a moment to come. A call is counted
        # until just before its answer, since the next one may be here before the answer has ended.
        nonlocal waiting
        with lock:
            waiting += 1
            most.append(waiting)
        three.wait(timeout=60)
        time.sleep(0.02)
        with lock:
            waiting -= 1
        return GOOD

    with chat_server(manner) as server:
        replies = endpoint(server, max_concurrency=3).ask(ask_about(*map(str, range(12))))
    assert [reply.text for reply in replies] == [GOOD] * 12
    assert max(most) == 3


def test_calls_start_no_faster_than_the_rate() -> None:
    waits = Waits()
    with chat_server(GOOD) as server:
        endpoint(server, waits, requests_per_minute=30).ask(ask_about(*"abcd"))
    # Nothing truly waits here, so that each start is two seconds after the one before it.
    assert waits == pytest.approx([0, 2, 4, 6], abs=0.5)


def test_equal_questions_are_asked_once_and_other_attempts_again() -> None:
    again = ChatRequest((("user", "q"),), 50, 0.5, attempt=1)
    first = ChatRequest((("user", "q"),), 50, 0.5)
    with chat_server(lambda n, _: f"answer {n}") as server:
        chat = endpoint(server, max_concurrency=1)
        texts = [reply.text for reply in chat.ask([first, again, first])]
    assert texts == ["answer 0", "answer 1", "answer 0"]
    assert (chat.usage.calls, chat.usage.cached) == (2, 1)


def test_a_warm_cache_makes_no_calls_and_outlives_the_server(tmp_path: Path) -> None:
    with chat_server(lambda n, _: f"answer {n}") as server:
        cold = endpoint(server, cache_dir=tmp_path)
        first = cold.ask(ask_about(*"abc"))
    warm = endpoint(server, cache_dir=tmp_path)
    assert warm.count_cached(ask_about(*"abcd")) == 3
    assert warm.ask(ask_about(*"abc")) == first
    assert (warm.usage.calls, warm.usage.cached, warm.usage.cost) == (0, 3, 0)
    assert len(server.calls) == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"text": 3}', '{"text": "x'])
def test_a_damaged_file_is_asked_again(tmp_path: Path, damage: str) -> None:
    (request,) = ask_about("a")
    with chat_server(GOOD) as server:
        chat = endpoint(server, cache_dir=tmp_path)
        chat.ask([request])
        (file,) = tmp_path.rglob("*.json")
        file.write_text(damage)
        assert chat.ask([request])[0].text == GOOD
    assert len(server.calls) == 2


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with chat_server(GOOD) as server, pytest.raises(UserError, match=r"endpoint\.cache_dir"):
        endpoint(server, cache_dir=tmp_path / "file").ask(ask_about("a"))


@pytest.mark.parametrize(
    "limit", [{"max_calls": 3}, {"max_tokens": 330}, {"max_cost": 0.00065}, {"max_calls": 0}]
)
@pytest.mark.parametrize("lanes", [1, 8])
def test_a_budget_ends_the_asking_and_keeps_what_was_answered(limit: dict, lanes: int) -> None:
    prices = {"prompt_price": 1.0, "completion_price": 10.0}
    requests = ask_about(*(f"{n:0396d}" for n in range(10)), max_tokens=10)
    with chat_server(GOOD) as server:
        chat = endpoint(server, max_concurrency=lanes, **prices, **limit)
        replies = chat.ask(requests)
        answered = sum(reply.text is not None for reply in replies)
        assert answered == (0 if limit == {"max_calls": 0} else 3)
        refusals = {reply.error for reply in replies if reply.text is None}
        assert len(refusals) == 1
        assert f"endpoint.{next(iter(limit))}=" in refusals.pop()
        assert chat.ask(ask_about("x" * 396))[0].text is None
    assert len(server.calls) == answered
    assert chat.usage.cost == pytest.approx(answered * 200e-6)


@settings(max_examples=20)
@given(
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), max_size=8),
)
def test_no_reply_can_take_the_account_beyond_its_budget(
    limit: int, asks: list[tuple[int, int]]
) -> None:
    """Every call fits with its longest reply, so that a server that counts alike cannot exceed."""
    chat = Endpoint(EndpointConfig(model="m", max_tokens=limit, cache_dir=None), "http://x", "")

    async def send(client: object, request: ChatRequest) -> object:
        return chat._read_body(
            json.dumps(
                {
                    "choices": [{"message": {"content": "x"}}],
                    "usage": {"completion_tokens": request.max_tokens},
                }
            ).encode(),
            request,
        )

    chat._send = send
    requests = [ChatRequest((("user", "x" * n),), m, attempt=i) for i, (n, m) in enumerate(asks)]
    replies = chat.ask(requests)
    assert chat.usage.tokens <= limit
    costs = [-(-n // 4) + m for n, m in asks]
    if sum(costs) <= limit:
        assert all(reply.text == "x" for reply in replies)


def test_tokens_are_estimated_where_the_server_does_not_count() -> None:
    chat = Endpoint(EndpointConfig(model="m", cache_dir=None), "http://x", "")
    body = {"choices": [{"message": {"content": "x" * 9}}], "usage": {"prompt_tokens": True}}
    (request,) = ask_about("y" * 15)
    answer = chat._read_body(json.dumps(body).encode(), request)
    assert answer.usage == Usage(calls=1, prompt_tokens=1 + 4, completion_tokens=3)


@pytest.mark.parametrize("trouble", ["401", "echo", "500", "drop"])
def test_the_key_appears_nowhere(
    trouble: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with chat_server(trouble) as server:
        chat = endpoint(server, cache_dir=tmp_path, max_retries=1)
        (reply,) = chat.ask(ask_about("q"))
        assert server.keys[0] == f"Bearer {KEY}"
        config = parse_config({"endpoint": {"model": "m", "base_url": server.url}}, "test")
    if trouble == "echo":
        assert reply.text == "you sent Bearer [key]"
    seen = [str(reply), repr(chat), str(vars(chat.usage)), caplog.text, dump_config(config)]
    seen += [path.read_text() for path in tmp_path.rglob("*.json")]
    assert KEY not in "".join(seen)


@pytest.mark.parametrize(
    ("section", "secret", "remedy"),
    [
        ({"api_key_env": KEY}, KEY, "names the variable"),
        ({"base_url": f"https://me:{KEY}@host/v1"}, KEY, "no user, password"),
        ({"base_url": f"https://host/v1?key={KEY}"}, KEY, "query"),
        ({"base_url": "localhost:8000"}, None, "http://host:port/v1"),
        ({"max_cost": 1}, None, "prompt_price"),
    ],
)
def test_settings_that_would_write_a_key_to_disk_are_refused_without_it(
    section: dict, secret: str | None, remedy: str
) -> None:
    with pytest.raises(UserError, match=remedy) as caught:
        parse_config({"endpoint": section}, "test")
    assert secret is None or secret not in str(caught.value)


def test_a_missing_server_or_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UserError, match=r"endpoint\.model"):
        open_endpoint(EndpointConfig())
    with pytest.raises(UserError, match="OPENAI_BASE_URL"):
        open_endpoint(EndpointConfig(model="m"))
    monkeypatch.setenv("OPENAI_API_KEY", "two\nlines")
    with pytest.raises(UserError, match="OPENAI_API_KEY") as caught:
        open_endpoint(EndpointConfig(model="m", base_url="http://x"))
    assert "lines" not in str(caught.value)


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with chat_server(GOOD) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        config = EndpointConfig(model="m", cache_dir=None)
        assert open_endpoint(config, Waits()).ask(ask_about("q"))[0].text == GOOD


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("endless", "longer than endpoint.max_reply_bytes=100000"),
        ("bomb", "longer than endpoint.max_reply_bytes=100000"),
        ("brotli", "packed with 'br', unasked"),
        ("garbled", "cannot be unpacked"),
    ],
)
def test_a_reply_beyond_bounds_is_given_up_at_once(manner: str, reason: str) -> None:
    with chat_server(manner) as server:
        (reply,) = endpoint(server, max_reply_bytes=100_000).ask(ask_about("why?"))
        assert reply.text is None
        assert reason in reply.error
        assert len(server.calls) == 1
        # What lies in buffers on the way, but no more.
        assert server.num_sent < 50_000_000


def test_a_packed_reply_is_unpacked() -> None:
    with chat_server("packed") as server:
        (reply,) = endpoint(server).ask(ask_about("why?"))
    assert reply.text == GOOD


def test_questions_are_not_sent_on_to_another_host() -> None:
    with chat_server("away") as server:
        (reply,) = endpoint(server).ask(ask_about("why?"))
        assert reply.text is None
        assert "redirects to another one, http://localhost" in reply.error
        assert len(server.calls) == 1


def test_a_redirect_on_the_same_host_is_followed() -> None:
    with chat_server(lambda number, body: GOOD if number else "around") as server:
        (reply,) = endpoint(server).ask(ask_about("why?"))
    assert reply.text == GOOD


def test_no_control_character_leaves_the_client(tmp_path: Path) -> None:
    with chat_server("escape") as server:
        (reply,) = endpoint(server).ask(ask_about("why?"))
        assert reply.error == "status 400: [2J31mgone" or "[2J31mgone" in reply.error
        assert reply.error.isprintable()
    with chat_server("go \x1b[2J\u202e on\nand on") as server:
        asking = endpoint(server, cache_dir=tmp_path)
        (reply,) = asking.ask(ask_about("why?"))
        assert reply.text == "go [2J on\nand on"
        # A cache that the version before filled is cleaned when it is read.
        (file,) = tmp_path.glob("*/*.json")
        file.write_text(json.dumps({"model": "m", "text": "go \x1b on"}))
        (reply,) = asking.ask(ask_about("why?"))
        assert reply.text == "go  on"


def test_absurd_counts_of_tokens_are_not_believed() -> None:
    with chat_server("counts") as server:
        asking = endpoint(server, prompt_price=1.0)
        (reply,) = asking.ask(ask_about("why?"))
    assert reply.text == "fine"
    assert asking.usage.tokens < 100

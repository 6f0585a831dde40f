"""`declutch serve`, driven over the network as its users do."""

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from served import NUM_POSITIONS, Server, make_served_folder, serving

from declutch.config.run import Config
from declutch.endpoint.server.app import open_listener
from declutch.ground.errors import UserError
from declutch.models.load import load_model


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_served_folder(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="module")
def server(served_folder: Path) -> Iterator[Server]:
    with serving(served_folder, "--max-tokens", "8") as running:
        yield running
        assert running.stop(signal.SIGINT) == 0


def text_of(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]["content"]


def test_one_question_is_answered_and_counted(server: Server, served_folder: Path) -> None:
    body = server.post(max_tokens=5, temperature=0).json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "tiny"
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    # The same model by hand: the most likely token, five times or up to the end.
    model, tokenizer = load_model(served_folder, Config().model)
    ids = tokenizer.encode("hello there ", return_tensors="pt")
    prompt_tokens = ids.shape[1]
    full = model.generate(ids, do_sample=False, max_new_tokens=5)[0, prompt_tokens:].tolist()
    ended = full[-1] == tokenizer.eos_token_id
    assert choice["message"]["content"] == tokenizer.decode(full[:-1] if ended else full)
    assert choice["finish_reason"] == ("stop" if ended else "length")
    assert body["usage"] == {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(full),
        "total_tokens": prompt_tokens + len(full),
    }


def test_questions_asked_together_are_answered_as_alone(server: Server) -> None:
    questions = [
        {"messages": [{"role": "user", "content": text}], "seed": seed, "max_tokens": tokens}
        for seed, text in enumerate(["a red mug", "the lamp", "go to the desk", "look"] * 3)
        for tokens in (6, 9)
    ]
    alone = [text_of(server.post(**question)) for question in questions]
    with ThreadPoolExecutor(len(questions)) as pool:
        together = list(pool.map(lambda question: text_of(server.post(**question)), questions))
    assert together == alone
    assert len(set(alone)) > 12  # seeds and questions make a difference


def test_the_seed_decides_and_without_one_chance_does(server: Server) -> None:
    def ask(**body) -> str:
        return text_of(server.post(max_tokens=12, **body))

    assert ask(seed=-4) == ask(seed=-4)
    assert len({ask() for _ in range(5)}) > 1
    assert len({ask(temperature=0) for _ in range(3)}) == 1
    # A nucleus next to nothing holds the most likely token alone.
    assert ask(top_p=1e-6) == ask(temperature=0)


def test_several_answers_differ_and_are_counted_together(server: Server) -> None:
    body = server.post(n=3, seed=1, max_tokens=10).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert len(set(texts)) == 3
    assert texts[0] == text_of(server.post(seed=1, max_tokens=10))
    assert 3 <= body["usage"]["completion_tokens"] <= 30


def test_an_answer_ends_before_a_stop_text(server: Server) -> None:
    whole = text_of(server.post(seed=3, max_tokens=12))
    words = whole.split()
    assert len(words) > 4
    cut = server.post(seed=3, max_tokens=12, stop=["zebra", words[3]]).json()
    (choice,) = cut["choices"]
    at = whole.index(words[3])
    assert choice["message"]["content"] == whole[:at]
    assert choice["finish_reason"] == "stop"
    assert text_of(server.post(seed=3, max_tokens=12, stop=words[3])) == whole[:at]


def test_without_a_limit_the_servers_own_holds(server: Server) -> None:
    answers = [server.post(seed=seed).json() for seed in range(6)]
    lengths = [answer["usage"]["completion_tokens"] for answer in answers]
    assert max(lengths) == 8
    reasons = [answer["choices"][0]["finish_reason"] for answer in answers]
    assert all((n < 8) <= (reason == "stop") for n, reason in zip(lengths, reasons, strict=True))
    assert "length" in reasons


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": ...}, 400, "model"),
        ({"model": "other"}, 404, "model"),
        ({"messages": ...}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "hello"}, 400, "messages"),
        ({"messages": [{"role": "user"}]}, 400, "messages.0.content"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "messages"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
            400,
            "messages",
        ),
        ({"messages": [{"role": "user", "content": "mug " * 999}]}, 400, "messages"),
        ({"max_tokens": NUM_POSITIONS}, 400, "messages"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": "8"}, 400, "max_tokens"),
        ({"temperature": -0.1}, 400, "temperature"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"temperature": 1e-300}, 400, "temperature"),
        ({"temperature": 1e300}, 400, "temperature"),
        ({"stop": "x" * 300}, 400, "stop"),
        ({"seed": 10**90, "max_tokens": 10**90}, 400, "messages"),
        ({"top_p": 0}, 400, "top_p"),
        ({"n": 0}, 400, "n"),
        ({"n": True}, 400, "n"),
        ({"stop": [""]}, 400, "stop"),
        ({"seed": 1.5}, 400, "seed"),
        ({"stream": True}, 400, "stream"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ],
)
def test_a_bad_request_names_what_is_wrong(
    server: Server, body: dict, status: int, param: str
) -> None:
    reply = server.post(**body)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000, b'{"model": "\\ud800"}'),
        *(b'{"model": "tiny", "messages": [{"role": "user", "content": "\\udfff"}]}',),
        *(b'{"seed": %s}' % (b"9" * 5000), b'{"a":' * 2000 + b"1" + b"}" * 2000),
    ],
)
def test_a_body_that_is_no_object_is_a_bad_request(server: Server, content: bytes) -> None:
    reply = httpx.post(f"{server.url}/chat/completions", content=content)
    assert reply.status_code == 400
    assert "JSON" in reply.json()["error"]["message"]


def test_a_temperature_that_is_no_number_is_a_bad_request(server: Server) -> None:
    for value in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        content = b'{"model": "tiny", "messages": [{"role": "user", "content": "a"}], '
        content += b'"temperature": ' + value + b"}"
        reply = httpx.post(f"{server.url}/chat/completions", content=content)
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "temperature"


@pytest.fixture(scope="module")
def narrow(served_folder: Path) -> Iterator[Server]:
    """A server with limits that a test can exceed."""
    limits = ("serve.max_body_bytes=5000", "serve.receive_seconds=1", "serve.max_waiting=2")
    with serving(served_folder, *limits, "serve.max_connections=6") as running:
        yield running


def test_a_body_that_is_too_long_is_refused(narrow: Server) -> None:
    reply = narrow.post(messages=[{"role": "user", "content": "a" * 6000}])
    assert reply.status_code == 413
    assert "serve.max_body_bytes=5000" in reply.json()["error"]["message"]

    def parts() -> Iterator[bytes]:
        for _ in range(60):
            yield b" " * 100

    reply = httpx.post(f"{narrow.url}/chat/completions", content=parts())
    assert reply.status_code == 413
    assert narrow.post().status_code == 200


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /v1/chat/comp",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea",
    ],
)
def test_a_request_that_never_ends_is_cut_off(narrow: Server, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=30) as line:
        line.sendall(start)
        answer = b""
        while part := line.recv(1 << 16):
            answer += part
    if b"Content-Length" in start:
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"serve.receive_seconds=1" in answer


def test_more_requests_than_allowed_are_told_to_come_back(narrow: Server) -> None:
    body = {"max_tokens": 60, "n": 32, "temperature": 2}
    with ThreadPoolExecutor(5) as pool:
        replies = list(pool.map(lambda seed: narrow.post(seed=seed, **body), range(5)))
    refused = [reply for reply in replies if reply.status_code == 429]
    assert refused
    for reply in refused:
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        assert reply.json()["error"]["code"] == "rate_limit_exceeded"
    assert all(reply.status_code in (200, 429) for reply in replies)
    assert any(reply.status_code == 200 for reply in replies)


def test_more_connections_than_allowed_are_closed(narrow: Server) -> None:
    lines = [socket.create_connection(("127.0.0.1", narrow.port), timeout=30) for _ in range(9)]
    answers = []
    for line in lines:
        with line:
            answers.append(line.recv(1 << 16))
    assert sum(b"503 Service Unavailable" in answer for answer in answers) >= 3


def test_an_answer_in_turns_is_that_of_one_turn(served_folder: Path, server: Server) -> None:
    """Sampled in turns of three tokens, with company that samples otherwise."""
    asked = [
        {"seed": seed, "max_tokens": 30, "temperature": 1 + seed / 4, "stop": ["mug"]}
        for seed in range(4)
    ]
    alone = [server.post(**body).json() for body in asked]
    with serving(served_folder, "serve.turn_tokens=3") as running, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda body: running.post(**body).json(), asked))
    for one, other in zip(alone, together, strict=True):
        assert one["choices"] == other["choices"]
        assert one["usage"] == other["usage"]


def test_what_changes_nothing_is_let_through(server: Server) -> None:
    usual = {"stream": False, "n": None, "stop": None, "user": "me", "tools": [], "logprobs": None}
    parts = [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]
    shown = server.post(**usual, seed=2, messages=[{"role": "user", "content": parts}])
    assert text_of(shown) == text_of(server.post(seed=2))


def test_other_addresses(server: Server) -> None:
    (card,) = httpx.get(f"{server.url}/models").json()["data"]
    assert card["id"] == "tiny"
    assert httpx.get(server.url.replace("/v1", "/health")).json() == {"status": "ok"}
    for reply in (httpx.get(f"{server.url}/none"), httpx.get(f"{server.url}/chat/completions")):
        assert reply.status_code in (404, 405)
        assert reply.json()["error"]["message"]


def test_the_openai_package_talks_to_it(server: Server) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        question = {"model": "tiny", "messages": [{"role": "user", "content": "the lamp"}]}
        reply = client.chat.completions.create(**question, seed=1, n=2, max_tokens=4)
        assert len(reply.choices) == 2
        assert reply.usage.total_tokens > reply.usage.completion_tokens > 0
        with pytest.raises(openai.NotFoundError, match="no model 'x'"):
            client.chat.completions.create(**{**question, "model": "x"})
        with pytest.raises(openai.BadRequestError, match="stream"):
            client.chat.completions.create(**question, stream=True)


def test_sigterm_lets_a_request_finish_and_frees_the_port(served_folder: Path) -> None:
    with serving(served_folder) as server, ThreadPoolExecutor(1) as pool:
        asked = {"max_tokens": NUM_POSITIONS - 8, "n": 32, "seed": 0, "temperature": 2}
        body = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], **asked}
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            content = json.dumps(body).encode()
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}"
            )
            line.sendall(f"{head}\r\n\r\n".encode() + content)
            # A reply on another connection shows that the first request has been taken in.
            httpx.get(f"{server.url}/models")
            stopping = pool.submit(server.stop, signal.SIGTERM)
            answer = b""
            while part := line.recv(1 << 16):
                answer += part
        assert stopping.result() == 0
        assert b" 200 OK" in answer.split(b"\r\n")[0]
        assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["choices"]) == 32
        open_listener("127.0.0.1", server.port).close()


def test_a_taken_port_is_one_clear_error() -> None:
    with open_listener("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port}: Address already in use"):
            open_listener("127.0.0.1", port)

"""Replies on disk: what their names tell apart, and that processes share them."""

import multiprocessing
from pathlib import Path

import pytest

from declutch.endpoint.cache import ReplyCache, cache_key
from declutch.endpoint.chat import ChatRequest

CHANGES = [
    {"max_tokens": 51},
    {"temperature": 0.6},
    {"attempt": 1},
    {"messages": (("user", "q"),)},
    {"messages": (("user", "s"), ("user", "a"))},
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_cache_tells_apart_what_differs(change: dict) -> None:
    request = ChatRequest((("system", "s"), ("user", "a")), 50, 0.5)
    other = ChatRequest(**{**vars(request), **change})
    assert cache_key("m", request) != cache_key("m", other)
    assert cache_key("m", request) != cache_key("n", request)


def _write_all(folder: Path, word: str) -> None:
    cache = ReplyCache(folder)
    for round_ in range(40):
        for key in ("ab1", "ab2", "cd3"):
            cache.write(key, "m", f"{word}{round_}" * 5000)
            text = cache.read(key)
            # Whichever process wrote it, it is whole.
            assert text is not None
            assert text == text[: len(text) // 5000] * 5000


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_write_all, args=(tmp_path, word)) for word in ("x", "yy")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]

"""The sources of labels side by side, and what an endpoint would be asked."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from chat_server import BAD, GOOD, chat_server
from evaluations import LABELLED
from rich.console import Console

from declutch.cli.labels import LabelJob, run_labels
from declutch.config.files import parse_config
from declutch.config.run import Config
from declutch.ground.errors import UserError


def config_for(url: str = "http://localhost:1/v1", **endpoint: object) -> Config:
    section = {"model": "m", "base_url": url, "cache_dir": None, "max_retries": 0, **endpoint}
    return parse_config({"endpoint": section, "gcd": {"llm_steps": 60}}, "test")


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    played = "declutch.evaluation.label_sources.play_steps"
    monkeypatch.setattr(played, lambda *arguments: LABELLED)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Console(file=io.StringIO(), width=200)


def label(config: Config, console: Console, **changes: object) -> str:
    job = replace(LabelJob("L0", num_steps=7, llm_steps=3), **changes)
    run_labels(None, config, None, job, console)
    return console.file.getvalue()


def test_a_dry_run_asks_nothing_and_shows_what_it_would(console: Console) -> None:
    prices = {"prompt_price": 1.0, "completion_price": 2.0}
    with chat_server(GOOD) as server:
        text = label(config_for(server.url, **prices), console, is_dry_run=True)
        assert server.calls == []
    assert text.count("You are a critic") == 2
    assert "3 steps: 15 calls" in text
    assert f"{15 * 1024:,} tokens of replies" in text
    assert "300 calls" in text
    # 15 replies of 1024 tokens alone cost 0.031, and the prompts far less.
    assert "cost 0.04 at most" in text
    assert "0 of these calls" in text


def test_labels_from_a_server_are_printed_and_written(console: Console, tmp_path: Path) -> None:
    def manner(number: int, body: dict) -> str:
        return BAD if "You now observe: x" in body["messages"][0]["content"] else GOOD

    with chat_server(manner) as server:
        config = config_for(server.url)
        text = label(config, console, llm_steps=7, out=tmp_path / "labels.json")
        assert len(server.calls) == 35
    assert "35 asks about 7 steps, 7 labels kept" in text
    data = json.loads((tmp_path / "labels.json").read_text())
    assert data["sources"]["endpoint"]["bad"] == 2
    assert data["sources"]["endpoint"]["good"] == 5
    assert data["usage"]["calls"] == 35
    assert data["steps"] == 7


def test_a_server_that_is_away_is_an_error(console: Console) -> None:
    with chat_server("500") as server, pytest.raises(UserError, match="status 500"):
        label(config_for(server.url), console)


def test_without_steps_to_ask_no_endpoint_is_needed(console: Console) -> None:
    text = label(parse_config({}, "test"), console, llm_steps=0)
    assert "oracle" in text
    assert "endpoint" not in text

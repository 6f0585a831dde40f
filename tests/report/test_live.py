"""The live watcher and its plain form."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from declutch.report.cells import DASH
from declutch.report.live import TrainWatcher, sparkline
from declutch.report.progress import (
    Counter,
    format_metric,
    format_seconds,
    progress,
    reported_progress,
)

METRICS = {
    "agent/success": 0.625,
    "agent/repeated_share": 0.1,
    "judge/accuracy": 0.7,
    "update/grad_cosine": -0.25,
    "time/play": 3.0,
    "time/update": 1.0,
    "time/iteration": 4.2,
}


def make_console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=160, color_system=None)


def output(console: Console) -> str:
    return console.file.getvalue()


def test_plain_view_prints_one_line_per_event():
    console = make_console(is_terminal=False)
    with TrainWatcher(3, "tiny [run]", console=console) as watcher:
        watcher.phase("play")
        watcher.update(METRICS)
        watcher.evaluation(1, {"L0": (0.5, 0.4, 0.6, 100), "L2": (0.1, 0.05, 0.2, 40)})
        watcher.update(METRICS)
    lines = output(console).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("tiny [run]")
    assert lines[1].startswith("[1/3]")
    for part in ("success 62.5%", "repeated 10.0%", "judge 70.0%", "cos -0.25", "4.2 s", "left"):
        assert part in lines[1]
    assert "L0 50.0% [40.0, 60.0] n=100" in lines[2]
    assert lines[2].endswith("(95% intervals over games of this run)")
    assert "\x1b" not in output(console)


def test_an_evaluation_of_broken_games_alone_has_no_share():
    console = make_console(is_terminal=False)
    nothing = (math.nan, math.nan, math.nan, 0)
    with TrainWatcher(3, "tiny [run]", console=console) as watcher:
        watcher.evaluation(1, {"L0": nothing, "L2": (0.1, 0.05, 0.2, 40)})
    assert f"L0 {DASH} n=0 · L2 10.0% [5.0, 20.0] n=40" in output(console)


def test_resumed_view_continues_the_count():
    console = make_console(is_terminal=False)
    with TrainWatcher(10, "run", start=7, console=console) as watcher:
        watcher.update({})
    assert "[8/10]" in output(console)


def test_live_view_shows_metrics_phases_and_evaluations():
    console = make_console(is_terminal=True)
    with TrainWatcher(3, "tiny [run]", console=console) as watcher:
        watcher.phase("update")
        watcher.update(METRICS)
        for iteration, share in enumerate((0.1, 0.5, 0.9)):
            watcher.evaluation(iteration, {"L1": (share, share - 0.1, share + 0.1, 77)})
    text = output(console)
    for part in ("tiny [run]", "1/3", "62.5%", "judge", "time", "3.0 s", "L1 at 2", "77", "▂▅▇"):
        assert part in text


def test_live_view_restores_the_cursor_on_errors():
    console = make_console(is_terminal=True)
    with pytest.raises(RuntimeError), TrainWatcher(3, "run", console=console):
        raise RuntimeError
    assert output(console).rstrip().endswith("\x1b[?25h")


def test_plain_counter_is_rate_limited():
    now = [0.0]
    console = make_console(is_terminal=False)
    with Counter("games", 100, console=console, clock=lambda: now[0]) as counter:
        for _ in range(100):
            now[0] += 0.5
            counter.advance()
    lines = output(console).splitlines()
    assert lines == [
        "games: 20/100 in 10 s, 40 s left",
        "games: 40/100 in 20 s, 30 s left",
        "games: 60/100 in 30 s, 20 s left",
        "games: 80/100 in 40 s, 10 s left",
        "games: 100/100 in 50 s",
    ]


def test_progress_yields_everything_and_counts():
    console = make_console(is_terminal=False)
    assert list(progress(iter("abc"), "letters", console=console, clock=lambda: 0.0)) == [
        "a",
        "b",
        "c",
    ]
    assert output(console) == "letters: 3 in 0 s\n"
    console = make_console(is_terminal=True)
    assert list(progress([1, 2], "numbers [x]", console=console)) == [1, 2]
    assert "numbers [x]" in output(console)
    assert "2/2" in output(console)


def test_sparkline_by_hand():
    assert sparkline([0, 1, 0.5, float("nan"), 2]) == "▁█▅ █"
    assert len(sparkline([0.1] * 100)) == 24


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1234, "%", "12.3%"),
        (4.16, "s", "4.2 s"),
        (3.0, "", "3"),
        (0.00012345, "", "0.000123"),
        (1234.5, "", "1234"),
    ],
)
def test_metrics_are_short(value: float, unit: str, text: str):
    assert format_metric(value, unit) == text


def test_seconds_are_readable():
    assert [format_seconds(s) for s in (0.4, 59, 185, 7384)] == ["0 s", "59 s", "3:05", "2:03:04"]


def test_reported_progress_counts_what_it_is_told() -> None:
    stream = io.StringIO()
    with reported_progress("making", console=Console(file=stream)) as report:
        report(2, 5)
        report(5, 5)
    assert "making: 5/5" in stream.getvalue()
    with reported_progress("twice", console=Console(file=stream)) as report:
        report(2, 2)
        report(3, 9)
        report(9, 9)
    assert "twice: 2/2" in stream.getvalue()
    assert "twice: 9/9" in stream.getvalue()
    with reported_progress("nothing", console=Console(file=stream)):
        pass
    assert "nothing" not in stream.getvalue()

"""The time left counts iterations and evaluations apart."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from declutch.report.live import TrainWatcher
from declutch.report.time_left import TimeLeft


class _Timed(io.StringIO):
    """A file that hands on every line when it is written."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self._tell(line)
        return len(text)


class Run:
    """A run by the clock: evaluations of 120 s around iterations of 20 s, the first of 30 s."""

    def __init__(self, total: int = 40, every: int = 10) -> None:
        self.now, self.total = 0.0, total
        self.evaluated = tuple(range(0, total + 1, every))

    def seconds_of(self, number: int) -> float:
        return 30.0 if number == 1 else 20.0

    def evaluate(self, watcher: TrainWatcher) -> None:
        watcher.phase("eval")
        for game in range(1, 101):
            self.now += 1.2
            watcher.progress(game, 100)
        watcher.evaluation(0, {"L0": (0.5, 0.4, 0.6, 100)})

    def lines(self) -> list[tuple[float, str]]:
        """(seconds still to come, what was said)."""
        told: list[tuple[float, str]] = []
        stream = _Timed(lambda line: told.append((self.now, line)))
        console = Console(file=stream, width=400)
        watcher = TrainWatcher(
            self.total, "run", evaluated=self.evaluated, console=console, clock=lambda: self.now
        )
        with watcher:
            for number in range(self.total + 1):
                if number:
                    watcher.phase("play")
                    self.now += self.seconds_of(number)
                began = self.now
                if number in self.evaluated:
                    self.evaluate(watcher)
                if number:
                    spent = self.now - began
                    whole = self.seconds_of(number) + spent
                    watcher.update({"time/iteration": whole, "time/eval": spent})
        return [(self.now - when, line) for when, line in told]


def seconds_in(text: str) -> float:
    *minutes, seconds = text.removesuffix(" s").split(":")
    return sum(60.0 ** (len(minutes) - i) * float(m) for i, m in enumerate(minutes)) + float(
        seconds
    )


def test_an_evaluation_is_no_iteration() -> None:
    found = [(left, line) for left, line in Run().lines() if "· left " in line]
    assert len(found) > 40
    for left, line in found:
        said = seconds_in(line.rpartition("· left ")[2])
        assert left / 2 - 30 <= said <= 2 * left + 30, line
    # The very first line: 39 iterations of 20 s and 4 evaluations of 120 s are to come.
    assert seconds_in(found[0][1].rpartition("left ")[2]) == pytest.approx(39 * 30 + 480, rel=0.01)
    assert found[-1][1].endswith("left 0 s")


def test_evaluations_tell_in_logs_how_far_they_are() -> None:
    lines = [line for _, line in Run().lines() if "games" in line and "/100" in line]
    assert len(lines) >= 5 * 8
    assert "9/100 games" in lines[0]
    assert "left" not in lines[0]
    assert "left" in lines[-1]


def test_nothing_is_said_before_anything_is_known() -> None:
    now = [0.0]
    left = TimeLeft(10, (0, 10), clock=lambda: now[0])
    assert left.seconds is None
    left.begin_evaluation()
    now[0] = 50.0
    left.count_games(50, 100)
    assert left.seconds is None
    left.end_evaluation()
    left.end_iteration({})
    assert left.seconds == pytest.approx(50.0)


def test_a_resumed_run_counts_what_is_still_to_come() -> None:
    now = [0.0]
    left = TimeLeft(10, (0, 5, 10), done=7, clock=lambda: now[0])
    now[0] = 10.0
    left.end_iteration({"time/iteration": 10.0})
    assert left.seconds == pytest.approx(20.0)

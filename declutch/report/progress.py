"""Progress of work under way: a bar on a terminal, plain single lines anywhere else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.rule import Rule

from declutch.report.cells import DASH

Item = TypeVar("Item")
Score = tuple[float, float, float, int]

PLAIN_LINE_SECONDS = 10.0


class DrawnInPlace:
    """Progress that rich draws in place of a terminal, started and stopped as a context manager.

    It is started and stopped on a terminal only; elsewhere plain lines tell of the progress.

    Args:
        drawn: the bar or the live view.
        console: where it is drawn.
    """

    def __init__(self, drawn: Progress | Live, console: Console) -> None:
        self._drawn = drawn
        self._console = console

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._drawn.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._drawn.stop()


class Counter(DrawnInPlace):
    """The bar that reports the progress of any long job: a context manager with `advance`.

    On a terminal a bar with the time left; else a plain line every ten seconds and at the end.

    Args:
        description: what is being done.
        total: items, None where unknown.
        console: where to draw; standard error by default, so that results can be piped.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        where = console or Console(stderr=True)
        self._bar = make_bar(where)
        super().__init__(self._bar, where)
        self._description = description
        self._total = total
        self._clock = clock
        self._done = 0
        self._began = self._last_line = clock()
        self._task = self._bar.add_task(escape(description), total=total)

    def __enter__(self) -> Self:
        self._began = self._last_line = self._clock()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if not self._console.is_terminal:
            self._print(is_last=True)

    def advance(self, count: int = 1) -> None:
        """`count` more items are done."""
        self._done += count
        self._bar.update(self._task, completed=self._done)
        if not self._console.is_terminal:
            now = self._clock()
            is_due = now - self._last_line >= PLAIN_LINE_SECONDS
            if is_due and self._done != self._total:
                self._last_line = now
                self._print(is_last=False)

    def _print(self, *, is_last: bool) -> None:
        passed = self._clock() - self._began
        count = f"{self._done}" if self._total is None else f"{self._done}/{self._total}"
        line = f"{self._description}: {count} in {format_seconds(passed)}"
        if not is_last and self._total is not None and self._done:
            left = passed / self._done * (self._total - self._done)
            line += f", {format_seconds(left)} left"
        print_plain(self._console, line)


@contextmanager
def reported_progress(
    description: str, *, console: Console | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Report as a bar the progress of work that calls a function with (done, total).

    It appears with the first call; another total begins another one.
    """
    with ExitStack() as stack:
        counter: Counter | None = None
        counted = expected = 0

        def report(done: int, total: int) -> None:
            nonlocal counter, counted, expected
            if counter is None or total != expected:
                stack.close()
                counter = stack.enter_context(Counter(description, total, console=console))
                counted, expected = 0, total
            counter.advance(done - counted)
            counted = done

        yield report


@contextmanager
def reported_stage(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """Report as a bar, under a rule with its name, the progress of one stage of a longer job."""
    console.print(Rule(name, align="left"))
    with reported_progress(name, console=console) as report:
        yield report


def progress(
    items: Iterable[Item],
    description: str,
    *,
    total: int | None = None,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """Iterate over items and report the progress as a bar; without a length give `total`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Counter(description, total, console=console, clock=clock) as counter:
        for item in items:
            yield item
            counter.advance()


def format_metric(value: float, unit: str = "") -> str:
    """A metric as text of progress lines: "12.3%", "4.2 s", a count whole, else three digits."""
    if math.isnan(value):
        return DASH
    if unit == "%":
        return f"{100 * value:.1f}%"
    if unit == "s":
        return f"{value:.1f} s"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def format_seconds(seconds: float) -> str:
    """A duration as text of progress lines: "45 s", "3:05" or "2:03:04"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def make_bar(
    console: Console, *columns: ProgressColumn, left: ProgressColumn | None = None
) -> Progress:
    """Make the one kind of progress bar there is; still empty.

    Args:
        columns: more of them, before the time.
        left: says the time left; None has it told from the rate so far.
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        *columns,
        TimeElapsedColumn(),
        TextColumn("left"),
        left or TimeRemainingColumn(),
        console=console,
        speed_estimate_period=600,
    )


def print_plain(console: Console, line: str) -> None:
    """Report progress as a plain line, free of rich's markup and breaks, where no bar is drawn."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)

"""Progress a person can watch: a live view on a terminal, plain single lines anywhere else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TypeVar

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
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
from rich.table import Table
from rich.text import Text

Item = TypeVar("Item")
Score = tuple[float, float, float, int]

PLAIN_LINE_SECONDS = 10.0
BLOCKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 24

SECTIONS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "agent",
        (
            ("success", "agent/success", "%"),
            ("mean score", "agent/score", "%"),
            ("finished positive", "agent/finished_positive", "%"),
            ("return", "agent/return", ""),
            ("steps", "agent/num_steps", ""),
            ("tokens per response", "agent/response_tokens", ""),
            ("invalid", "agent/invalid_share", "%"),
            ("inadmissible", "agent/inadmissible_share", "%"),
            ("repeated", "agent/repeated_share", "%"),
            ("looped", "agent/looped_share", "%"),
            ("timed out", "agent/timed_out_share", "%"),
            ("equal-return groups", "agent/zero_variance_share", "%"),
            ("environment errors", "agent/env_errors", ""),
        ),
    ),
    (
        "judge",
        (
            ("accuracy", "judge/accuracy", "%"),
            ("accuracy, good", "judge/accuracy_good", "%"),
            ("accuracy, bad", "judge/accuracy_bad", "%"),
            ('says "1"', "judge/one_share", "%"),
            ("unreadable", "judge/unreadable_share", "%"),
            ("questions", "judge/num_questions", ""),
            ("rules in prompts", "suggestions/num_rules", ""),
        ),
    ),
    (
        "update",
        (
            ("KL", "update/kl", ""),
            ("clipped", "update/clip_share", "%"),
            ("entropy", "update/entropy", ""),
            ("gradient norm", "update/grad_norm", ""),
            ("  agent", "update/grad_norm_agent", ""),
            ("  judge", "update/grad_norm_judge", ""),
            ("  cosine", "update/grad_cosine", ""),
            ("mismatch", "update/mismatch_mean", ""),
        ),
    ),
    (
        "critic",
        (
            ("explained variance", "critic/explained_variance", "%"),
            ("loss", "critic/loss", ""),
            ("clipped", "critic/clip_share", "%"),
            ("gradient norm", "critic/grad_norm", ""),
        ),
    ),
)
PHASES = ("play", "label", "judge", "update", "save", "eval")
PLAIN_METRICS = (
    ("success", "agent/success", "%"),
    ("score", "agent/score", "%"),
    ("steps", "agent/num_steps", ""),
    ("invalid", "agent/invalid_share", "%"),
    ("repeated", "agent/repeated_share", "%"),
    ("looped", "agent/looped_share", "%"),
    ("judge", "judge/accuracy", "%"),
    ("KL", "update/kl", ""),
    ("grad", "update/grad_norm", ""),
    ("cos", "update/grad_cosine", ""),
    ("tok/s", "time/tokens_per_second", ""),
)


class TrainView:
    """Live view of a training run; a context manager.

    On a terminal: a bar with the time left and tables of the latest metrics, drawn in place. Else
    one plain line per iteration and per evaluation.

    Args:
        total: iterations of the whole run.
        title: what is being trained.
        start: iterations already done, for a resumed run; time left is judged by the rest.
        console: where to draw; standard output by default.
    """

    def __init__(
        self, total: int, title: str, *, start: int = 0, console: Console | None = None
    ) -> None:
        self._total = total
        self._title = title
        self._done = start
        self._console = console or Console()
        self._metrics: dict[str, float] = {}
        self._scores: dict[str, list[tuple[int, Score]]] = {}
        self._began = time.monotonic()
        self._start = start
        self._bar = make_bar(self._console)
        self._task = self._bar.add_task("starting", total=total, completed=start)
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._live.start(refresh=True)
        else:
            print_plain(self._console, f"{self._title}: {self._total} iterations")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def phase(self, name: str) -> None:
        """Say what is going on now, e.g. "play"."""
        self._bar.update(self._task, description=escape(name))

    def update(self, metrics: Mapping[str, float]) -> None:
        """One iteration is done and these are its metrics (keys as in metrics.jsonl)."""
        self._metrics = dict(metrics)
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        if not self._console.is_terminal:
            print_plain(self._console, self._plain_line())

    def evaluation(self, iteration: int, scores: Mapping[str, Score]) -> None:
        """An evaluation is done: level -> (mean, low, high, n), shares in [0, 1]."""
        for level, score in scores.items():
            self._scores.setdefault(level, []).append((iteration, score))
        if not self._console.is_terminal:
            parts = [
                f"{level} {100 * mean:.1f}% [{100 * low:.1f}, {100 * high:.1f}] n={n}"
                for level, (mean, low, high, n) in scores.items()
            ]
            print_plain(self._console, f"evaluation at iteration {iteration}: {' · '.join(parts)}")

    def note(self, text: str) -> None:
        """Say something that the numbers do not."""
        print_plain(self._console, text)

    def _plain_line(self) -> str:
        parts = [f"[{self._done}/{self._total}]"]
        for label, key, unit in PLAIN_METRICS:
            if key in self._metrics:
                parts.append(f"{label} {format_metric(self._metrics[key], unit)}")
        if "time/iteration" in self._metrics:
            parts.append(f"{self._metrics['time/iteration']:.1f} s")
        passed = time.monotonic() - self._began
        left = passed / (self._done - self._start) * (self._total - self._done)
        parts.append(f"left {format_seconds(left)}")
        return " · ".join(parts)

    def _render(self) -> RenderableType:
        panels: list[RenderableType] = [
            _metric_table(name, self._metrics, entries)
            for name, entries in SECTIONS
            if any(key in self._metrics for _, key, _ in entries)
        ]
        if any(f"time/{phase}" in self._metrics for phase in PHASES):
            panels.append(_phase_table(self._metrics))
        parts: list[RenderableType] = [self._bar]
        if panels:
            parts.append(Columns(panels, padding=(0, 3)))
        if self._scores:
            parts.append(_score_table(self._scores))
        return Panel(
            Group(*parts), title=escape(self._title), title_align="left", border_style="dim"
        )


class Counter:
    """Progress of a job of known or unknown length; a context manager with `advance`.

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
        self._description = description
        self._total = total
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._done = 0
        self._began = self._last_line = clock()
        self._bar = make_bar(self._console)
        self._task = self._bar.add_task(escape(description), total=total)

    def __enter__(self) -> Self:
        self._began = self._last_line = self._clock()
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()
        else:
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
    """A `Counter` for work that calls the yielded function with (done, total).

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
    """`reported_progress` under a heading of its own."""
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
    """Yield `items` and show how far it is; `total` is needed where they have no length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Counter(description, total, console=console, clock=clock) as counter:
        for item in items:
            yield item
            counter.advance()


def sparkline(shares: Sequence[float], width: int = SPARKLINE_WIDTH) -> str:
    """The last `width` shares in [0, 1] as block characters; a gap for NaN."""
    marks = []
    for share in shares[-width:]:
        if math.isnan(share):
            marks.append(" ")
        else:
            level = round(min(max(share, 0.0), 1.0) * (len(BLOCKS) - 1))
            marks.append(BLOCKS[level])
    return "".join(marks)


def format_metric(value: float, unit: str = "") -> str:
    """A share as "12.3%" (unit "%"), a count as it is, anything else with three digits."""
    if math.isnan(value):
        return "-"
    if unit == "%":
        return f"{100 * value:.1f}%"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def format_seconds(seconds: float) -> str:
    """Seconds as "45 s", "3:05" or "2:03:04"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def make_bar(console: Console, *columns: ProgressColumn) -> Progress:
    """A bar per task with the time left; `columns` stand before the times."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        *columns,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=600,
    )


def _metric_table(
    name: str, metrics: Mapping[str, float], entries: Sequence[tuple[str, str, str]]
) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(Text(name, style="bold"), "")
    for label, key, unit in entries:
        if key in metrics:
            table.add_row(label, format_metric(metrics[key], unit))
    return table


def _phase_table(metrics: Mapping[str, float]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row(Text("seconds", style="bold"), "", "")
    seconds = {phase: metrics[f"time/{phase}"] for phase in PHASES if f"time/{phase}" in metrics}
    whole = sum(seconds.values()) or 1.0
    for phase, spent in seconds.items():
        bar = Text("━" * round(12 * spent / whole), style="cyan")
        table.add_row(phase, f"{spent:.1f}", bar)
    if "time/iteration" in metrics:
        table.add_row("iteration", f"{metrics['time/iteration']:.1f}", "")
    if "time/tokens_per_second" in metrics:
        table.add_row("tokens/s", f"{metrics['time/tokens_per_second']:.0f}", "")
    return table


def _score_table(scores: Mapping[str, Sequence[tuple[int, Score]]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(
        Text("evaluation", style="bold"), "success", "95% interval", "n", "so far", style="dim"
    )
    for level, history in scores.items():
        iteration, (mean, low, high, n) = history[-1]
        table.add_row(
            f"{level} at {iteration}",
            f"{100 * mean:.1f}%",
            f"[{100 * low:.1f}, {100 * high:.1f}]",
            str(n),
            Text(sparkline([score[0] for _, score in history]), style="cyan"),
        )
    return table


def print_plain(console: Console, line: str) -> None:
    """One line of text as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)

"""What a terminal shows of a training run under way: phases, metrics and evaluations so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import TextColumn

from declutch.evaluation.intervals import OVER_GAMES, Estimate
from declutch.report.cells import DASH, count_cell, estimate_cell
from declutch.report.drawers.terminal import draw_compact
from declutch.report.progress import (
    PLAIN_LINE_SECONDS,
    DrawnInPlace,
    Score,
    format_metric,
    format_seconds,
    make_bar,
    print_plain,
)
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.report.time_left import TimeLeft
from declutch.runs.catalogue import listed, metric_of, phases
from declutch.runs.metric import Metric

BLOCKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 24
EVALUATION = "eval"
"""The phase of an iteration that is an evaluation."""


class TrainWatcher(DrawnInPlace):
    """Live view of a training run in the terminal: a watcher and a context manager.

    On a terminal: a bar with the time left and tables of the latest metrics, drawn in place. Else
    one plain line per iteration and per evaluation.

    Args:
        total: iterations of the whole run.
        title: what is being trained.
        start: iterations already done, for a resumed run; time left is judged by the rest.
        evaluated: iterations after which there is an evaluation, which the time left counts.
        console: where to draw; standard output by default.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        total: int,
        title: str,
        *,
        start: int = 0,
        evaluated: Collection[int] = (),
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        where = console or Console()
        self._total = total
        self._title = title
        self._metrics: dict[str, float] = {}
        self._scores: dict[str, list[tuple[int, Score]]] = {}
        self._clock = clock
        self._left = TimeLeft(total, evaluated, start, clock)
        self._last_line = clock()
        self._bar = make_bar(where, left=TextColumn("{task.fields[left]}"))
        self._task = self._bar.add_task("starting", total=total, completed=start, left=DASH)
        # The live view draws itself once when it is made, so everything it shows comes before.
        super().__init__(
            Live(get_renderable=self._render, console=where, refresh_per_second=4), where
        )

    def __enter__(self) -> Self:
        if not self._console.is_terminal:
            print_plain(self._console, f"{self._title}: {self._total} iterations")
        return super().__enter__()

    def phase(self, name: str) -> None:
        """Say what is going on now, e.g. "play"."""
        label = metric_of("time", name).label
        if name == EVALUATION:
            self._left.begin_evaluation()
            self._last_line = self._clock()
        self._bar.update(self._task, description=escape(label))

    def progress(self, done: int, total: int) -> None:
        """So many games of the evaluation under way are played."""
        self._left.count_games(done, total)
        label = metric_of("time", EVALUATION).label
        self._bar.update(self._task, description=f"{escape(label)} {done}/{total}")
        now = self._clock()
        is_due = now - self._last_line >= PLAIN_LINE_SECONDS and done < total
        if is_due and not self._console.is_terminal:
            self._last_line = now
            print_plain(self._console, f"{label}: {done}/{total} games{self._describe_left()}")

    def update(self, metrics: Mapping[str, float]) -> None:
        """One iteration is done and these are its metrics (keys as in metrics.jsonl)."""
        self._metrics = dict(metrics)
        self._left.end_iteration(metrics)
        self._bar.update(self._task, completed=self._left.done)
        if not self._console.is_terminal:
            print_plain(self._console, self._plain_line())

    def evaluation(self, iteration: int, scores: Mapping[str, Score]) -> None:
        """An evaluation is done: level -> (mean, low, high, n), shares in [0, 1]."""
        self._left.end_evaluation()
        for level, score in scores.items():
            self._scores.setdefault(level, []).append((iteration, score))
        if not self._console.is_terminal:
            parts = [
                f"{level} {100 * mean:.1f}% [{100 * low:.1f}, {100 * high:.1f}] n={n}"
                if n
                else f"{level} {DASH} n=0"
                for level, (mean, low, high, n) in scores.items()
            ]
            found = f"evaluation at iteration {iteration}: {' · '.join(parts)}"
            print_plain(self._console, f"{found} (95% intervals over {OVER_GAMES})")

    def note(self, text: str) -> None:
        """Say something that the numbers do not."""
        print_plain(self._console, text)

    def _plain_line(self) -> str:
        parts = [f"[{self._left.done}/{self._total}]"]
        for metric in listed():
            if metric.plain and metric.key in self._metrics:
                value = format_metric(self._metrics[metric.key], metric.unit)
                parts.append(f"{metric.plain} {value}")
        return " · ".join(parts) + self._describe_left()

    def _describe_left(self) -> str:
        seconds = self._left.seconds
        return "" if seconds is None else f" · left {format_seconds(seconds)}"

    def _render(self) -> RenderableType:
        panels: list[RenderableType] = [
            draw_compact(metric_sheet(section, self._metrics, found))
            for section, found in live_sections(self._metrics).items()
        ]
        seconds = self._left.seconds
        left = DASH if seconds is None else format_seconds(seconds)
        self._bar.update(self._task, left=left)
        parts: list[RenderableType] = [self._bar]
        if panels:
            parts.append(Columns(panels, padding=(0, 3)))
        if self._scores:
            parts.append(draw_compact(evaluation_sheet(self._scores)))
        return Panel(
            Group(*parts), title=escape(self._title), title_align="left", border_style="dim"
        )


def sparkline(shares: Sequence[float], width: int = SPARKLINE_WIDTH) -> str:
    """Sparkline of the live view: block characters for a share in [0, 1]; a gap for NaN."""
    marks = []
    for share in shares[-width:]:
        if math.isnan(share):
            marks.append(" ")
        else:
            level = round(min(max(share, 0.0), 1.0) * (len(BLOCKS) - 1))
            marks.append(BLOCKS[level])
    return "".join(marks)


def live_sections(metrics: Mapping[str, float]) -> dict[str, list[Metric]]:
    """Metrics that the live view of a training run shows, as far as it has them, by section."""
    sections: dict[str, list[Metric]] = {}
    for metric in listed():
        if metric.is_live and metric.key in metrics:
            sections.setdefault(metric.section, []).append(metric)
    return sections


def metric_sheet(section: str, metrics: Mapping[str, float], shown: Sequence[Metric]) -> Sheet:
    """Table of the live view of a training run: the latest metrics of one section.

    The phases of an iteration have bars of their share in the time of all of them.

    Args:
        metrics: values by key.
        shown: the metrics of the section that have one.
    """
    seconds = {phase: metrics[phase.key] for phase in phases() if phase in shown}
    whole = sum(seconds.values()) or 1.0
    rows = []
    for metric in shown:
        value = metrics[metric.key]
        bar = "━" * round(12 * seconds.get(metric, 0.0) / whole)
        number = Cell(format_metric(value, metric.unit), value)
        rows.append(SheetRow((Cell(metric.label), number, Cell(bar, tone="accent"))))
    return Sheet("", (words(section), Column(""), words("")), tuple(rows))


def evaluation_sheet(scores: Mapping[str, Sequence[tuple[int, Score]]]) -> Sheet:
    """Table of the live view: the latest evaluation of each level, with a sparkline of all so far.

    Args:
        scores: level -> iteration and score of each evaluation, in order.
    """
    rows = []
    for level, history in scores.items():
        iteration, score = history[-1]
        line = sparkline([each[0] for _, each in history])
        cells = (estimate_cell(Estimate(*score)), count_cell(score[3]), Cell(line, tone="accent"))
        rows.append(SheetRow((Cell(f"{level} at {iteration}"), *cells)))
    success = Column("success [95%, over games]", "%")
    columns = (words("evaluation"), success, Column("n"), words("so far"))
    return Sheet("", columns, tuple(rows))

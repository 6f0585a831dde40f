"""What a terminal shows of a training run under way: phases, metrics and evaluations so far."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel

from declutch.evaluation.intervals import Estimate
from declutch.report.cells import count_cell, estimate_cell, number_cell
from declutch.report.drawers.terminal import draw_compact
from declutch.report.progress import Score, format_metric, format_seconds, make_bar, print_plain
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.runs.catalogue import PHASES, PLAIN_METRICS, SECTIONS

BLOCKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 24


class TrainWatcher:
    """Watcher that shows a training run in the terminal while it goes on; a context manager.

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
            draw_compact(metric_sheet(name, self._metrics, entries))
            for name, entries in SECTIONS
            if any(key in self._metrics for _, key, _ in entries)
        ]
        if any(f"time/{phase}" in self._metrics for phase in PHASES):
            panels.append(draw_compact(time_sheet(self._metrics)))
        parts: list[RenderableType] = [self._bar]
        if panels:
            parts.append(Columns(panels, padding=(0, 3)))
        if self._scores:
            parts.append(draw_compact(evaluation_sheet(self._scores)))
        return Panel(
            Group(*parts), title=escape(self._title), title_align="left", border_style="dim"
        )


def sparkline(shares: Sequence[float], width: int = SPARKLINE_WIDTH) -> str:
    """A row of block characters that shows how a share in [0, 1] developed; a gap for NaN."""
    marks = []
    for share in shares[-width:]:
        if math.isnan(share):
            marks.append(" ")
        else:
            level = round(min(max(share, 0.0), 1.0) * (len(BLOCKS) - 1))
            marks.append(BLOCKS[level])
    return "".join(marks)


def metric_sheet(
    name: str, metrics: Mapping[str, float], entries: Sequence[tuple[str, str, str]]
) -> Sheet:
    """Table of the latest metrics of one section of the live view.

    Args:
        name: of the section.
        entries: label, key and unit of its metrics; those without a number are left out.
    """
    rows = [
        SheetRow((Cell(label), Cell(format_metric(metrics[key], unit), metrics[key])))
        for label, key, unit in entries
        if key in metrics
    ]
    return Sheet("", (words(name), Column("")), tuple(rows))


def time_sheet(metrics: Mapping[str, float]) -> Sheet:
    """Table of the seconds of the latest iteration by phase, with bars of their shares."""
    seconds = {phase: metrics[f"time/{phase}"] for phase in PHASES if f"time/{phase}" in metrics}
    whole = sum(seconds.values()) or 1.0
    rows = [
        (Cell(phase), number_cell(spent), Cell("━" * round(12 * spent / whole), tone="accent"))
        for phase, spent in seconds.items()
    ]
    if "time/iteration" in metrics:
        rows.append((Cell("iteration"), number_cell(metrics["time/iteration"]), Cell("")))
    if "time/tokens_per_second" in metrics:
        rate = number_cell(metrics["time/tokens_per_second"], digits=0)
        rows.append((Cell("tokens/s"), rate, Cell("")))
    return Sheet("", (words("seconds"), Column(""), words("")), tuple(map(SheetRow, rows)))


def evaluation_sheet(scores: Mapping[str, Sequence[tuple[int, Score]]]) -> Sheet:
    """Table of the latest evaluation of each level, with a sparkline of the ones so far.

    Args:
        scores: level -> iteration and score of each evaluation, in order.
    """
    rows = []
    for level, history in scores.items():
        iteration, score = history[-1]
        line = sparkline([each[0] for _, each in history])
        cells = (estimate_cell(Estimate(*score)), count_cell(score[3]), Cell(line, tone="accent"))
        rows.append(SheetRow((Cell(f"{level} at {iteration}"), *cells)))
    columns = (words("evaluation"), Column("success", "%"), Column("n"), words("so far"))
    return Sheet("", columns, tuple(rows))

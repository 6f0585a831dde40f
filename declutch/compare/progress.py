"""How far a comparison's runs are: bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID, TextColumn

from declutch.report.cells import DASH
from declutch.report.progress import DrawnInPlace, format_metric, make_bar, print_plain
from declutch.runs.catalogue import key_of, metric_of
from declutch.runs.read import Metrics


class GridWatcher(DrawnInPlace):
    """Progress of a comparison's runs, shown while they train: a watcher and a context manager.

    On a terminal a bar for the grid and one for each run at work, with its latest training
    success and evaluation. Else a plain line when a run begins, is evaluated, or ends.

    Args:
        total: runs of the grid.
        done: runs that were complete before.
        console: where to draw.
    """

    def __init__(self, total: int, done: int, console: Console) -> None:
        self._bar = make_bar(console, TextColumn("{task.fields[note]}"))
        super().__init__(self._bar, console)
        self._total = total
        self._done = done
        self._grid = self._bar.add_task("[bold]runs[/]", total=total, completed=done, note="")
        self._tasks: dict[str, TaskID] = {}
        self._evaluated: dict[str, int] = {}

    def start(self, name: str, iterations: int) -> None:
        """The process of a run has started."""
        self._tasks[name] = self._bar.add_task(escape(name), total=iterations, note="")
        self._plain(f"{name}: started")

    def update(self, name: str, rows: Sequence[Metrics]) -> None:
        """These are the iterations a run has on record."""
        if not rows:
            return
        done = int(rows[-1]["iteration"] or 0)
        evaluated = next((row for row in reversed(rows) if evaluation_of(row)), {})
        success = f"success {_percent(rows[-1].get(key_of('agent', 'success')))}"
        scores = " ".join(f"{level} {share}" for level, share in evaluation_of(evaluated).items())
        note = " · ".join(part for part in (success, scores) if part)
        self._bar.update(self._tasks[name], completed=done, note=note)
        last = int(evaluated.get("iteration") or 0)
        if last > self._evaluated.setdefault(name, 0):
            self._evaluated[name] = last
            self._plain(f"{name}: evaluation at iteration {last}: {scores}")

    def finish(self, name: str, problem: str) -> None:
        """The process of a run has ended; `problem` is "" where it went well."""
        self._bar.remove_task(self._tasks.pop(name))
        self._done += not problem
        self._bar.update(self._grid, completed=self._done)
        outcome = f"failed: {problem}" if problem else f"done, {self._done} of {self._total} runs"
        print_plain(self._bar.console, f"{name}: {outcome}")

    def _plain(self, line: str) -> None:
        if not self._console.is_terminal:
            print_plain(self._console, line)


def evaluation_of(row: Mapping[str, float | None]) -> dict[str, str]:
    """An iteration's success per level as text for a comparison's progress; {} if not evaluated."""
    success = metric_of("eval", "{level}/success")
    levels = {key: success.match(key) for key in row}
    return {found["level"]: _percent(row[key]) for key, found in levels.items() if found}


def _percent(share: float | None) -> str:
    return DASH if share is None else format_metric(share, "%")

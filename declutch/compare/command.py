"""`declutch compare`: plan a grid, train what is missing of it, draw the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from declutch.compare.files import csv_text, markdown, terminal_table
from declutch.compare.grid import (
    FREE_KEYS,
    PlannedRun,
    RunId,
    check_run,
    describe_state,
    is_complete,
    plan_grid,
)
from declutch.compare.launch import Failure, hold_folder, train_runs
from declutch.compare.page import render_comparison
from declutch.compare.runs import read_comparison
from declutch.compare.tables import all_sheets
from declutch.compare.view import GridView
from declutch.config import Config
from declutch.config_files import apply_overrides, change_config, parse_config
from declutch.errors import UserError
from declutch.files import write_atomically
from declutch.progress import reported_stage
from declutch.run_folder import claim
from declutch.stages import make_cold_start
from declutch.suites import make_suite
from declutch.tables import make_table

COLD_START_FILE = "cold_start.yaml"
COLD_START_SECTIONS = ("seed", "threads", "env", "agent", "tiny", "sft")


@dataclass(frozen=True)
class Grid:
    """A grid that was checked against what lies in its folder.

    Attributes:
        out: where the runs are.
        runs: all of them, in the order they are trained.
        cold_start: settings of the cold start that is made in `out`; None where all runs name a
            model of their own.
    """

    out: Path
    runs: tuple[PlannedRun, ...]
    cold_start: Config | None

    @property
    def waiting(self) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if not is_complete(run, self.out / str(run.id)))


def make_grid(
    out: Path,
    base: Mapping[str, Any],
    methods: Sequence[str],
    gcd: Sequence[bool],
    seeds: Sequence[int],
    overrides: Sequence[str],
) -> Grid:
    """Plan the grid; nothing is written.

    Raises:
        UserError: as `plan_grid`, or a run or cold start in `out` has other settings.
    """
    model = str(out / "cold_start")
    runs = plan_grid(base, methods, gcd, seeds, overrides, model)
    for run in runs:
        check_run(run, out / str(run.id))
    cold = None
    if any(run.config.model.path == model for run in runs):
        cold = _cold_start_config(base, overrides)
    return Grid(out, runs, cold)


def train_grid(grid: Grid, workers: int, console: Console) -> tuple[Failure, ...]:
    """Train what is missing; complete runs are left alone, started ones go on.

    Returns:
        The runs that failed.
    """
    waiting = grid.waiting
    if not waiting:
        return ()
    try:
        grid.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {grid.out}: {error.strerror}") from None
    with hold_folder(grid.out) as lock:
        try:
            stage = partial(reported_stage, console)
            with stage("games") as report:
                # Made before the runs start, which would all make them at once.
                suite = make_suite(waiting[0].config.env, report)
            if grid.cold_start is not None:
                claim(grid.out / COLD_START_FILE, grid.cold_start, FREE_KEYS)
                make_cold_start(grid.cold_start, suite, grid.out, stage)
            done = len(grid.runs) - len(waiting)
            with GridView(len(grid.runs), done, console) as view:
                return train_runs(waiting, grid.out, workers, view, lock)
        except KeyboardInterrupt:
            console.print("everything trained so far is kept; the same command goes on from there")
            raise


def show_plan(grid: Grid, console: Console) -> None:
    """What training would do."""
    table = make_table(f"{len(grid.waiting)} of {len(grid.runs)} runs to train", "run")
    table.add_column("state")
    table.add_column("starts from")
    for run in grid.runs:
        state = describe_state(run, grid.out / str(run.id))
        table.add_row(str(run.id), state, run.config.model.path)
    console.print(table)
    if grid.cold_start is not None:
        exists = (grid.out / "cold_start").exists()
        console.print(f"cold start: {'there' if exists else 'to be made once, for all runs'}")


def show_tables(out: Path, ids: Sequence[RunId], iteration: int | None, console: Console) -> None:
    """Print the tables of what there is of some runs, and write them into `out`.

    Args:
        iteration: which is compared; None takes the last that all evaluated runs have.
    """
    comparison = read_comparison(out, ids)
    for note in comparison.notes:
        console.print(note, style="yellow", markup=False)
    if not comparison.runs:
        return
    sheets = all_sheets(comparison, iteration)
    for sheet in sheets:
        if not sheet.is_detail:
            console.print(terminal_table(sheet, console.width))
            console.print()
    files = {
        "table.csv": csv_text(comparison),
        "table.md": markdown(sheets),
        "compare.html": render_comparison(out.resolve().name, comparison, sheets),
    }
    for name, text in files.items():
        write_atomically(out / name, text)
    console.print(f"tables and curves: {out / 'compare.html'}", soft_wrap=True)
    console.print(f"the same as text: {out / 'table.md'} and {out / 'table.csv'}", soft_wrap=True)


def show_failures(failures: Sequence[Failure], out: Path, console: Console) -> None:
    """Which runs failed, and where each says why."""
    for failure in failures:
        log = out / "logs" / f"{failure.name}.log"
        line = f"{failure.name} failed: {failure.problem} (log: {log})"
        console.print(line, style="red", markup=False, soft_wrap=True)


def _cold_start_config(base: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    """The settings a cold start depends on; everything else is left at its default."""
    data = {key: value for key, value in base.items() if key != "algorithm"}
    items = tuple(item for item in overrides if not item.startswith("algorithm."))
    config = parse_config(apply_overrides(data, items), "the cold start")
    sections = config.model_dump(mode="json")
    model = {"device": config.model.device, "dtype": config.model.dtype}
    chosen = {key: sections[key] for key in COLD_START_SECTIONS}
    return change_config(Config(), **chosen, model=model)

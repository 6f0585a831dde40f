"""`declutch compare`: plan a grid, train what is missing of it, draw the tables."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.interrupt import tell_when_interrupted
from declutch.cli.options import GivenSettings, grouped, split_numbers, split_words
from declutch.cli.terminal import console as terminal
from declutch.cli.terminal import show, warn

if TYPE_CHECKING:
    from rich.console import Console

    from declutch.compare.grid import Grid, RunId
    from declutch.compare.launch import Failure


@dataclass(frozen=True)
class GridOptions:
    """Options of `declutch compare`: which methods, with and without GCD, over which seeds."""

    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--methods",
            help="Algorithm types such as grpo,gigpo, or YAML files laid over those of --config. "
            "The others are compared with the first.",
        ),
    ] = None
    gcd: Annotated[
        list[str] | None,
        typer.Option("--gcd", help="off, on or off,on; by default what the settings say."),
    ] = None
    seeds: Annotated[
        list[str] | None, typer.Option("--seeds", help="Training seeds; by default 0,1,2.")
    ] = None


@grouped
def compare_command(
    out: Annotated[
        Path,
        typer.Argument(help="The folder of the runs, METHOD[+gcd]_sSEED, and of the tables."),
    ],
    given: GivenSettings,
    chosen: GridOptions,
    workers: Annotated[int, typer.Option(min=1, help="How many runs are trained at once.")] = 1,
    iteration: Annotated[
        int | None,
        typer.Option(
            min=0, help="The iteration to compare; by default the last one that all runs have."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and train nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Train nothing; draw tables of what lies in OUT so far.")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="The method that the others are compared with, from now on in all tables of OUT; "
            "by default the first that was trained there.",
        ),
    ] = None,
) -> None:
    """Train methods with and without GCD over seeds from one cold start, and compare them.

    The same command given again goes on where it stopped; complete runs are not repeated.
    """
    base = None if show else GivenSettings(config=given.config).load()

    from declutch.compare.grid import find_runs, make_grid, parse_gcd
    from declutch.compare.order import extend_order
    from declutch.config.files import read_layers

    methods, seeds = split_words(chosen.methods), split_numbers("--seeds", chosen.seeds)
    gcd = parse_gcd(split_words(chosen.gcd))
    if base is None:
        _choose_baseline(out, baseline)
        stems = [Path(name).stem for name in methods]
        show_tables(out, find_runs(out, stems, gcd, seeds), iteration, terminal)
        return
    data = read_layers(given.config or [])
    names = methods or [base.algorithm.type]
    grid = make_grid(out, data, names, gcd, seeds or [0, 1, 2], given.items)
    if dry_run:
        show_plan(grid, terminal)
        return
    _find_models(grid)
    with _hold(out, terminal):
        extend_order(out, [run.id.arm.method for run in grid.runs])
        _choose_baseline(out, baseline)
        failures = train_grid(grid, workers, terminal)
        show_tables(out, find_runs(out, [], [], []), iteration, terminal)
    show_failures(failures, out, terminal)
    if failures:
        raise typer.Exit(1)


def _choose_baseline(out: Path, baseline: str | None) -> None:
    """Make a method the first in the folder's order, where that is asked for."""
    from declutch.compare.grid import find_runs
    from declutch.compare.order import choose_baseline, read_order

    if baseline is not None:
        there = find_runs(out, [], [], []) if not read_order(out) else ()
        present = [*read_order(out), *dict.fromkeys(run.arm.method for run in there)]
        choose_baseline(out, Path(baseline).stem, present)


def _find_models(grid: Grid) -> None:
    """Find the models that runs start from, but the cold start that is still to be made."""
    from declutch.models.find import find_model

    made_here = str(grid.out / "cold_start")
    for path in dict.fromkeys(run.config.model.path for run in grid.waiting):
        if path != made_here:
            find_model(path)


def _hold(out: Path, console: Console) -> AbstractContextManager[int]:
    """Hold a comparison's folder, for its runs as well, which go on holding it."""
    from declutch.runs.lock import hold_folder

    return hold_folder(
        out, "declutch compare", "tiny|cold_start", is_inherited=True, say=console.print
    )


def train_grid(grid: Grid, workers: int, console: Console) -> tuple[Failure, ...]:
    """`declutch compare`: train the runs that its grid lacks; complete ones are left alone.

    Runs that were started go on from their last checkpoint.

    Returns:
        The runs that failed.
    """
    from declutch.cold_start.pipeline import make_cold_start
    from declutch.compare.grid import COLD_START_FILE, FREE_KEYS
    from declutch.compare.launch import train_runs
    from declutch.compare.progress import GridWatcher
    from declutch.envs.registry import make_suite
    from declutch.report.progress import reported_stage
    from declutch.runs.claims import claim

    waiting = grid.waiting
    if not waiting:
        return ()
    with _hold(grid.out, console) as lock:
        tell_when_interrupted(
            lambda: "everything trained so far is kept; the same command goes on from there"
        )
        stage = partial(reported_stage, console)
        with stage("games") as report:
            # Made before the runs start, which would all make them at once.
            suite = make_suite(waiting[0].config.env, report)
        if grid.cold_start is not None:
            claim(grid.out / COLD_START_FILE, grid.cold_start, FREE_KEYS)
            make_cold_start(grid.cold_start, suite, grid.out, stage, warn)
        done = len(grid.runs) - len(waiting)
        with GridWatcher(len(grid.runs), done, console) as watcher:
            return train_runs(waiting, grid.out, workers, watcher, lock)


def show_plan(grid: Grid, console: Console) -> None:
    """`declutch compare --dry-run`: print every run's state, and whether a cold start is made."""
    from declutch.compare.sheets import plan_sheet

    show([plan_sheet(grid)], console)
    if grid.cold_start is not None:
        exists = (grid.out / "cold_start").exists()
        console.print(f"cold start: {'there' if exists else 'to be made once, for all runs'}")


def show_tables(out: Path, ids: Sequence[RunId], iteration: int | None, console: Console) -> None:
    """`declutch compare`: print the tables of the runs as far as they are, write them into `out`.

    What is written is of all runs of the folder: a choice among them is only printed.

    Args:
        iteration: which is compared; None takes the last that all evaluated runs have.
    """
    from declutch.compare.coupling import coupling_sheet, has_coupling
    from declutch.compare.grid import find_runs
    from declutch.compare.page import render_comparison
    from declutch.compare.runs import read_comparison
    from declutch.compare.sheets import all_sheets, data_sheet
    from declutch.ground.files import write_atomically
    from declutch.report.drawers.csv import draw_csv
    from declutch.report.drawers.markdown import draw_markdown

    comparison = read_comparison(out, ids)
    for note in comparison.notes:
        console.print(note, style="yellow", markup=False)
    if not comparison.runs:
        return
    if set(ids) != set(find_runs(out, [], [], [])):
        show([s for s in all_sheets(comparison, iteration) if not s.is_detail], console)
        console.print(
            f"\nA choice among the runs of {out}, whose files hold the tables of all of them.",
            soft_wrap=True,
        )
        return
    sheets = all_sheets(comparison, iteration)
    coupling = [coupling_sheet(comparison)] if has_coupling(comparison) else []
    show([sheet for sheet in (*sheets, *coupling) if not sheet.is_detail], console)
    console.print()
    files = {
        "table.csv": draw_csv(data_sheet(comparison)),
        "table.md": "\n".join(map(draw_markdown, [*sheets, *coupling])),
        "compare.html": render_comparison(out.resolve().name, comparison, sheets),
    }
    if coupling:
        files["coupling.csv"] = draw_csv(coupling[0])
    for name, text in files.items():
        write_atomically(out / name, text)
    console.print(f"tables and curves: {out / 'compare.html'}", soft_wrap=True)
    console.print(f"the same as text: {out / 'table.md'} and {out / 'table.csv'}", soft_wrap=True)


def show_failures(failures: Sequence[Failure], out: Path, console: Console) -> None:
    """`declutch compare`: print which runs failed, and where each says why."""
    for failure in failures:
        log = out / "logs" / f"{failure.name}.log"
        line = f"{failure.name} failed: {failure.problem} (log: {log})"
        console.print(line, style="red", markup=False, soft_wrap=True)

"""`declutch games gold`: which of ScienceWorld's gold paths solve their task, and how long."""

from __future__ import annotations

import json
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.options import GivenSettings, grouped, split_words
from declutch.cli.terminal import console as terminal
from declutch.cli.terminal import held, open_suite, show
from declutch.ground.errors import UserError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from declutch.config.run import Config
    from declutch.envs.protocol import Suite
    from declutch.envs.scienceworld.gold import GoldPath
    from declutch.records import TaskId


@grouped
def games_gold_command(
    given: GivenSettings,
    levels: Annotated[
        list[str] | None,
        typer.Option("--levels", help="Levels or splits, such as L0,L1; by default L0."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", help="Tasks, such as boil,melt; by default all of the levels."),
    ] = None,
    num_variations: Annotated[
        int, typer.Option(min=1, help="How many variations of each task and level, from the first.")
    ] = 3,
    out: Annotated[Path | None, typer.Option(help="A JSON file to write every path to.")] = None,
) -> None:
    """Check ScienceWorld's gold paths of --levels: which solve their task, how long, which fail."""
    settings = given.load()
    chosen = split_words(levels) or ["L0"]
    with held(out, "declutch games gold"):
        suite = open_suite(settings)
        run_gold(settings, suite, chosen, split_words(tasks), num_variations, out, terminal)


def run_gold(
    config: Config,
    suite: Suite,
    levels: Sequence[str],
    kinds: Sequence[str],
    num_variations: int,
    out: Path | None,
    console: Console,
) -> None:
    """`declutch games gold`: check ScienceWorld's gold paths; print a table and every failure.

    Args:
        levels: levels or raw splits.
        kinds: tasks to check; () for all of the levels.
        num_variations: of each task and level, the first ones.
        out: JSON file of every path.
    Raises:
        UserError: another suite, no such level or task, no memory, or a disk that refuses.
    """
    from declutch.envs.scienceworld.suite import ScienceWorldSuite
    from declutch.ground.files import write_atomically
    from declutch.report.games import gold_sheet
    from declutch.report.progress import print_plain, progress

    if not isinstance(suite, ScienceWorldSuite):
        raise UserError(
            f"env.suite={config.env.suite!r} has no gold paths; set env.suite=scienceworld"
        )
    found: dict[TaskId, GoldPath] = {}
    try:
        tasks = choose_tasks(suite, levels, kinds, num_variations)
        for task in progress(tasks, "gold paths", console=console):
            found[task] = suite.planner.gold(task)
    finally:
        suite.close()
    show([gold_sheet(found, ", ".join(levels), config.env.max_steps)], console)
    for task, gold in found.items():
        if gold.error:
            print_plain(console, f"{task.split} {task.name}: {gold.error}")
    if out is not None:
        paths = [{"split": t.split, "task": t.name, **asdict(g)} for t, g in found.items()]
        record = {"max_steps": config.env.max_steps, "levels": list(levels), "paths": paths}
        write_atomically(out, json.dumps(record, indent=1) + "\n")
        console.print(f"written to {out}")


def choose_tasks(
    suite: Suite, levels: Sequence[str], kinds: Sequence[str], num_variations: int
) -> list[TaskId]:
    """`declutch games gold`: choose the first variations of each ScienceWorld task, each once.

    Raises:
        UserError: no such level, or a task that none of them has.
    """
    chosen: dict[TaskId, None] = {}
    known: set[str] = set()
    for level in levels:
        counts: Tally[str] = Tally()
        for task in suite.tasks(level):
            known.add(task.kind)
            counts[task.kind] += 1
            if counts[task.kind] <= num_variations and (not kinds or task.kind in kinds):
                chosen[task] = None
    for kind in kinds:
        if kind not in known:
            raise UserError(
                f"--tasks {kind}: {', '.join(levels)} has no such task"
                f"{nearest(kind, sorted(known))}"
            )
    return list(chosen)

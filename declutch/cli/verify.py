"""`declutch games verify`: both engines on the same games, and a table of what was compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console as terminal
from declutch.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from declutch.config.run import Config
    from declutch.envs.alfworld.verify import Difference, VerifyReport


@dataclass(frozen=True)
class VerifyJob:
    """Which games `declutch games verify` plays through both engines, and how."""

    reference: Annotated[
        str, typer.Option(help="The engine to compare with; there is only textworld.")
    ] = "textworld"
    num_games: Annotated[
        int, typer.Option(min=1, help="How many games, over all splits and types.")
    ] = 50
    seed: Annotated[int, typer.Option(help="The seed of the games drawn and of the walks.")] = 0
    data: Annotated[
        Path | None,
        typer.Option(help="The folder that holds json_2.1.1; by default what the settings say."),
    ] = None
    num_steps: Annotated[int, typer.Option(min=1, help="Steps of each walk.")] = 30
    workers: Annotated[int, typer.Option(min=1, help="How many processes compare.")] = 1


@grouped
def games_verify_command(given: GivenSettings, job: VerifyJob) -> None:
    """Play the same commands through our engine and the official one; stop at a difference."""
    if not run_verify(given.load(), job, terminal):
        raise typer.Exit(1)


def run_verify(config: Config, job: VerifyJob, console: Console) -> bool:
    """Compare the engines, print the summary, and the first difference if there is one.

    Returns:
        whether there was none.
    Raises:
        UserError: an unknown reference, no games, or the official engine is not installed.
    """
    from declutch.envs.alfworld.suite import AlfworldSuite
    from declutch.envs.alfworld.verify import draw_games, verify_games
    from declutch.envs.registry import make_suite
    from declutch.report.progress import Counter

    if job.reference != "textworld":
        raise UserError(f"--reference {job.reference!r}: the only reference engine is textworld")
    data, seed = job.data, job.seed
    suite = make_suite(config.env) if data is None else AlfworldSuite(data.expanduser())
    if not isinstance(suite, AlfworldSuite):
        raise UserError(
            f"env.suite={config.env.suite!r}: only games of ALFWorld can be compared with the "
            "official engine; set env.suite to alfworld or households"
        )
    paths = draw_games(suite, job.num_games, seed)
    with Counter("comparing", len(paths), console=console) as counter:
        report = verify_games(paths, seed, job.num_steps, job.workers, lambda _: counter.advance())
    console.print(summary_table(report, seed))
    if report.difference is not None:
        console.print(_describe(report.difference), highlight=False, soft_wrap=True)
        return False
    console.print(f"[bold green]no difference[/] in {report.num_steps} steps")
    return True


def summary_table(report: VerifyReport, seed: int) -> Table:
    """Games by split and type, walks by kind, and successful executions by action template."""
    from rich.table import Table

    table = Table(title=f"{report.num_games} games, {report.num_steps} steps, seed {seed}")
    table.add_column("compared")
    table.add_column("number", justify="right")
    _add(table, "games", report.games)
    _add(table, "walks", report.walks)
    _add(table, "successful executions", report.executed)
    table.add_row("nonsense commands", str(report.num_nonsense))
    table.add_row("walks won", str(report.num_won))
    return table


def _add(table: Table, title: str, counts: Mapping[str, int]) -> None:
    table.add_row(f"[bold]{title}[/]", "")
    for name, count in sorted(counts.items()):
        table.add_row(f"  {escape(str(name))}", str(count))
    table.add_section()


def _describe(difference: Difference) -> str:
    lines = [
        f"[bold red]difference[/] in {escape(str(difference.game))}",
        f"{difference.walk}, step {difference.step}, after {escape(repr(difference.action))}: "
        f"{difference.what} differs",
        f"ours:      {escape(difference.ours)}",
        f"reference: {escape(difference.reference)}",
    ]
    if difference.history:
        lines.append("commands so far: " + escape(" | ".join(difference.history)))
    return "\n".join(lines)

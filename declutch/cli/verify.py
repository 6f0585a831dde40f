"""`declutch games verify`: both engines on the same games, and a table of what was compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rich.markup import escape

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console as terminal
from declutch.cli.terminal import show
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from declutch.config.run import Config
    from declutch.envs.alfworld.match import Difference


@dataclass(frozen=True)
class VerifyJob:
    """Options of `declutch games verify`: which games are played through both engines, and how."""

    num_games: Annotated[
        int, typer.Option(min=1, help="How many games, over all splits and types.")
    ] = 50
    seed: Annotated[int, typer.Option(help="The seed of the games drawn and of the walks.")] = 0
    num_steps: Annotated[int, typer.Option(min=1, help="Steps of each walk.")] = 30
    workers: Annotated[int, typer.Option(min=1, help="How many processes compare.")] = 1

    REMOVED: ClassVar[Mapping[str, str]] = {
        "--data": "the settings env.suite=alfworld env.alfworld.data_dir=FOLDER",
        "--reference": "nothing in its place, since textworld is the only reference",
    }


@grouped
def games_verify_command(given: GivenSettings, job: VerifyJob) -> None:
    """Play --num-games games in our engine and the official one alike; stop at a difference."""
    if not run_verify(given.load(), job, terminal):
        raise typer.Exit(1)


def run_verify(config: Config, job: VerifyJob, console: Console) -> bool:
    """`declutch games verify`: compare the engines, print the summary and the first difference.

    Returns:
        whether there was none.
    Raises:
        UserError: games of another suite, or the official engine is not installed.
    """
    from declutch.envs.alfworld.suite import AlfworldSuite
    from declutch.envs.alfworld.verify import draw_games, verify_games
    from declutch.envs.registry import make_suite
    from declutch.report.games import verify_sheet
    from declutch.report.progress import Counter

    suite = make_suite(config.env)
    if not isinstance(suite, AlfworldSuite):
        raise UserError(
            f"env.suite={config.env.suite!r}: only games of ALFWorld can be compared with the "
            "official engine; set env.suite to alfworld or households"
        )
    seed = job.seed
    paths = draw_games(suite, job.num_games, seed)
    with Counter("comparing", len(paths), console=console) as counter:
        report = verify_games(paths, seed, job.num_steps, job.workers, lambda _: counter.advance())
    show([verify_sheet(report, seed)], console)
    if report.difference is not None:
        console.print(_describe(report.difference), highlight=False, soft_wrap=True)
        return False
    console.print(f"[bold green]no difference[/] in {report.num_steps} steps")
    return True


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

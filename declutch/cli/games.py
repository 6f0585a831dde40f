"""`declutch games`: the games of an environment, counted, generated and played by the expert."""

from __future__ import annotations

from typing import Annotated

import typer

from declutch.cli.gold import games_gold_command
from declutch.cli.options import GivenSettings, grouped, split_words
from declutch.cli.terminal import console, open_suite
from declutch.cli.verify import games_verify_command
from declutch.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Look at, generate and verify games.")


@app.command("list")
@grouped
def games_list_command(given: GivenSettings) -> None:
    """Count the games of every split and task type."""
    from declutch.cli.doctor import games_table

    console.print(games_table(open_suite(given.load())))


@app.command("generate")
@grouped
def games_generate_command(given: GivenSettings) -> None:
    """Generate the households now instead of at first use."""
    from declutch.cli.doctor import households_folder

    settings = given.load()
    if settings.env.suite != "households":
        raise UserError(f"env.suite={settings.env.suite!r} has nothing to generate")
    open_suite(settings)
    console.print(f"games in {households_folder(settings.env)}", soft_wrap=True)


@app.command("expert")
@grouped
def games_expert_command(
    given: GivenSettings,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="Splits or levels to play, such as train,L0; default: all."),
    ] = None,
) -> None:
    """Let the expert play every game: share won, length against the walkthrough's, per type."""
    from declutch.evaluation.expert import expert_table
    from declutch.report.tables import expert_rows_table

    settings = given.load()
    suite = open_suite(settings)
    is_alfworld = settings.env.suite in ("alfworld", "households")
    usual = ["train", "valid_seen", "valid_unseen"] if is_alfworld else ["train", "L0", "L1", "L2"]
    for name in split_words(split) or usual:
        console.print(expert_rows_table(name, expert_table(suite, name)))


app.command("verify")(games_verify_command)
app.command("gold")(games_gold_command)

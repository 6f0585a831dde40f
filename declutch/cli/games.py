"""`declutch games`: the games of an environment, counted, generated and played by the expert."""

from __future__ import annotations

from typing import Annotated

import typer

from declutch.cli.gold import games_gold_command
from declutch.cli.help import HelpApp
from declutch.cli.options import GivenSettings, grouped, split_words
from declutch.cli.terminal import console, open_suite, reported, show
from declutch.cli.verify import games_verify_command
from declutch.ground.errors import UserError

app = HelpApp(help="Look at, generate and verify games.")


@app.command("list")
@grouped
def games_list_command(given: GivenSettings) -> None:
    """List how many games env.suite has of every split and task type."""
    settings = given.load()

    from declutch.report.games import games_sheet

    show([games_sheet(open_suite(settings))])


@app.command("generate")
@grouped
def games_generate_command(given: GivenSettings) -> None:
    """Generate the games of env.suite now instead of at first use."""
    settings = given.load()

    from declutch.envs.registry import find_spec

    generate = find_spec(settings.env).generate
    if generate is None:
        raise UserError(f"env.suite={settings.env.suite!r} has nothing to generate")
    with reported("generating games") as report:
        folder = generate(settings.env, report)
    console.print(f"games in {folder}", soft_wrap=True)


@app.command("expert")
@grouped
def games_expert_command(
    given: GivenSettings,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="Splits or levels to play, such as train,L0; default: all."),
    ] = None,
) -> None:
    """Let the expert play all games of --split: share won, length against walkthroughs, by type."""
    settings = given.load()

    from declutch.envs.diagnosis import count_games
    from declutch.evaluation.expert import measure_expert
    from declutch.report.games import expert_sheet

    suite = open_suite(settings)
    for name in split_words(split) or count_games(suite):
        show([expert_sheet(name, measure_expert(suite, name))])


app.command("verify")(games_verify_command)
app.command("gold")(games_gold_command)

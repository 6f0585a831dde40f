"""`declutch coupling cases`: held-out episodes that fail by a habit of what was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.coupling_options import ResultOptions
from declutch.cli.options import grouped
from declutch.cli.terminal import console, open_suite
from declutch.ground.errors import UserError


@grouped
def cases_command(
    run_dir: Annotated[Path, typer.Argument(help="A run folder of `declutch train`.")],
    results: ResultOptions,
    level: Annotated[str, typer.Option(help="The level that is played.")] = "L2",
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes are played.")] = 64,
    show: Annotated[
        int, typer.Option(min=0, help="How many cases of each habit are shown step by step.")
    ] = 1,
) -> None:
    """Let a run's last checkpoint play held-out games, and show failures by a trained habit."""
    from declutch.coupling.cases import (
        HABITS,
        case_data,
        case_sheet,
        find_cases,
        habit_sheet,
    )
    from declutch.evaluation.players import evaluation_params, model_player
    from declutch.rollout.policy import load_policy
    from declutch.rollout.tasks import fixed_order
    from declutch.runs.folder import RunFolder

    run = RunFolder(run_dir)
    config = run.read_config()
    last = run.last_checkpoint()
    if last is None:
        raise UserError(f"{run_dir} has no checkpoint that could play")
    suite = open_suite(config)
    tasks = fixed_order(suite.tasks(level))[:episodes]
    if not tasks:
        raise UserError(f"the level {level!r} has no games")
    params = evaluation_params(config.env, config.eval, config.gcd)
    player = model_player(run_dir.name, load_policy(last, config), suite, params)
    console.print(f"playing {len(tasks)} games of {level}")
    played = player.play(tasks, 0)
    cases = find_cases(played)
    header = f"{run_dir.name}, {level}, {len(tasks)} games, temperature {params.temperature:g}"
    shown = [
        case_sheet(case)
        for habit in HABITS
        for case in [each for each in cases if each.habit is habit][:show]
    ]
    results.give(
        "cases",
        {"cases": case_data(cases), "episodes": len(played)},
        [habit_sheet(cases, played, header), *shown],
        [],
        [],
    )

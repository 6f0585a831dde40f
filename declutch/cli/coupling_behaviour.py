"""`declutch coupling behaviour`: repeated and looped actions, and how sure a policy is of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.coupling_options import ResultOptions, command_line
from declutch.cli.options import grouped
from declutch.cli.terminal import console, open_suite
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from declutch.config.run import Config
    from declutch.coupling.consistency import Consistency
    from declutch.envs.protocol import Suite


@grouped
def behaviour_command(
    run_dir: Annotated[Path, typer.Argument(help="A run folder of `declutch train`.")],
    results: ResultOptions,
    consistency: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many repeated, bad and good steps of each checkpoint are sampled ten times "
            "anew; 0 plays nothing and shows the evaluations alone.",
        ),
    ] = 0,
    level: Annotated[str, typer.Option(help="The level that is played for these steps.")] = "L2",
    episodes: Annotated[
        int, typer.Option(min=1, help="How many episodes are played for these steps.")
    ] = 64,
    every_checkpoint: Annotated[
        bool,
        typer.Option("--every-checkpoint", help="Sample every checkpoint instead of the last."),
    ] = False,
    start: Annotated[
        Path | None,
        typer.Option(
            help="A model folder that is sampled, too, as iteration 0: the cold start that the run "
            "began with."
        ),
    ] = None,
) -> None:
    """Show how often a run's policy repeats itself, over checkpoints, and how sure it is of it."""
    from declutch.coupling.behaviour import (
        behaviour_data,
        behaviour_figures,
        behaviour_sheet,
        consistency_sheet,
    )
    from declutch.runs.folder import RunFolder
    from declutch.runs.read import read_run

    run = RunFolder(run_dir)
    data = read_run(run)
    evaluated = [(each.iteration, each.result) for each in data.evaluations]
    measured = []
    if start is not None and not consistency:
        raise UserError(
            "--start is sampled for consistency; say of how many steps: --consistency N"
        )
    if consistency:
        config = run.read_config()
        checkpoints = list(run.checkpoints())
        if not checkpoints:
            raise UserError(f"{run_dir} has no checkpoint that could play")
        chosen = checkpoints if every_checkpoint else checkpoints[-1:]
        if start is not None:
            chosen = [(0, start), *chosen]
        suite = open_suite(config)
        for iteration, checkpoint in chosen:
            console.print(f"iteration {iteration}: playing, and sampling its actions anew")
            found = _resample(checkpoint, config, suite, level, (episodes, consistency))
            measured.append((iteration, found))
    sheets = [behaviour_sheet(evaluated, data.name)] if evaluated else []
    if measured:
        header = f"{level}, {episodes} episodes a checkpoint, temperature of training"
        sheets.append(consistency_sheet(measured, header))
    results.give(
        "behaviour",
        behaviour_data(evaluated, measured),
        sheets,
        behaviour_figures(evaluated, measured, data.name, command_line()),
        [] if evaluated else [f"{run_dir} has no evaluations"],
    )


def _resample(
    checkpoint: Path, config: Config, suite: Suite, level: str, sizes: tuple[int, int]
) -> tuple[Consistency, ...]:
    from declutch.coupling.consistency import measure_consistency
    from declutch.ground.streams import derive_seed
    from declutch.rollout.collect import CollectParams, Play, collect
    from declutch.rollout.policy import load_policy
    from declutch.rollout.tasks import fixed_order

    tasks = fixed_order(suite.tasks(level))
    if not tasks:
        raise UserError(f"the level {level!r} has no games")
    num_episodes, num_steps = sizes
    policy = load_policy(checkpoint, config)
    params = CollectParams(config.env.max_steps, config.rollout.temperature, oracle_every=1)
    plays = [
        Play(tasks[n % len(tasks)], n, derive_seed(config.seed, "consistency-play", n))
        for n in range(num_episodes)
    ]
    played = collect(plays, suite, policy.agent, policy.engine, params)
    return measure_consistency(policy, played, params.temperature, num_steps, config.seed)

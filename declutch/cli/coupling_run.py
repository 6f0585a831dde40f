"""`declutch coupling gradients RUN`: the checkpoints of a run play, and are measured on that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from declutch.cli.terminal import console, open_suite
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from declutch.cli.coupling_options import ResultOptions
    from declutch.cli.options import GivenSettings
    from declutch.coupling.gradients import GradientSettings


def measure_run(
    path: Path, settings: GradientSettings, every_checkpoint: bool, results: ResultOptions
) -> None:
    """Where `declutch coupling gradients` is given a run: measure its last checkpoint, or each.

    Raises:
        UserError: no run folder, no checkpoint, or too few samples of a population.
    """
    from declutch.cli.coupling_options import command_line
    from declutch.coupling.gradients import gradient_data, gradient_figures, gradient_sheets
    from declutch.coupling.output import write_json
    from declutch.coupling.over_training import measure_policy, training_figure
    from declutch.report.coupling import coupling_sheet
    from declutch.rollout.policy import load_policy
    from declutch.runs.coupling import read_coupling
    from declutch.runs.folder import RunFolder

    run = RunFolder(path)
    if not run.has_started() or not run.checkpoints():
        raise UserError(
            f"give the samples with --samples FILE.jsonl: {path} is no run folder with a "
            "checkpoint that could play for them; a model folder plays where settings say what, "
            "such as env.suite=alfworld or env.suite=math"
        )
    config = run.read_config()
    suite = open_suite(config)
    chosen = run.checkpoints() if every_checkpoint else run.checkpoints()[-1:]
    for iteration, checkpoint in chosen:
        console.print(f"iteration {iteration}: playing for samples and measuring them")
        policy = load_policy(checkpoint, config)
        place = run.coupling_path(iteration)
        name = f"{path.resolve().name}, iteration {iteration}"
        keep = place.with_suffix(".jsonl")
        result = measure_policy(policy, suite, config, name, settings, keep)
        data = {"iteration": iteration, **gradient_data(result)}
        write_json(place, data)
    notes: list[str] = []
    records = read_coupling(run, notes)
    figures = [
        *gradient_figures(result, command_line()),
        training_figure([("", records)], command_line()),
    ]
    sheets = [*gradient_sheets(result), coupling_sheet(records)]
    results.give("gradients", data, sheets, figures, [*result.populations.warnings, *notes])


def measure_play(
    path: Path, given: GivenSettings, settings: GradientSettings, results: ResultOptions
) -> None:
    """`declutch coupling gradients MODEL KEY=VALUE`: a model plays, and is measured on that.

    Raises:
        UserError: settings that are no good, or too few samples of a population.
    """
    from declutch.cli.coupling_options import command_line
    from declutch.cli.coupling_samples import find_settings
    from declutch.coupling.gradients import gradient_data, gradient_figures, gradient_sheets
    from declutch.coupling.over_training import measure_policy
    from declutch.rollout.policy import load_policy

    model, config = find_settings(str(path), given)
    suite = open_suite(config)
    console.print(f"{config.env.suite}: playing for samples and measuring them")
    keep = results.out / "samples.jsonl" if results.out is not None else None
    name = f"{path}, {config.env.suite}"
    result = measure_policy(load_policy(model, config), suite, config, name, settings, keep)
    results.give(
        "gradients",
        {**gradient_data(result), "suite": config.env.suite},
        gradient_sheets(result),
        gradient_figures(result, command_line()),
        result.populations.warnings,
    )

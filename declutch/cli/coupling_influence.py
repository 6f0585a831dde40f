"""`declutch coupling influence`: what a step on one sample does to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.coupling_options import ResultOptions, SampleOptions, command_line
from declutch.cli.options import grouped
from declutch.cli.terminal import reported


@grouped
def influence_command(
    model: Annotated[
        Path,
        typer.Argument(help="A model folder, or a run folder, which stands for its checkpoint."),
    ],
    given: SampleOptions,
    results: ResultOptions,
    per_token: Annotated[
        bool,
        typer.Option("--per-token", help="Step on and measure mean log-probabilities of tokens."),
    ] = False,
    step: Annotated[str, typer.Option(help="sgd, or adamw for the first step of AdamW.")] = "sgd",
    eta: Annotated[
        float | None,
        typer.Option(
            help="The size of the step; by default it is halved until the exact change and the "
            "first order agree within 1%."
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(help="The logits are divided by it.")] = 1.0,
    memory_gib: Annotated[float, typer.Option(help="GiB of memory that gradients may take.")] = 4.0,
) -> None:
    """Step on each sample and measure the change of every sample's log-probability."""
    from declutch.coupling.gram import GramSettings
    from declutch.coupling.influence import InfluenceSettings, measure_influence
    from declutch.coupling.influence_tables import (
        influence_data,
        influence_figures,
        influence_sheets,
    )
    from declutch.coupling.token_tables import describe_sample

    products = GramSettings(temperature, "exact", int(memory_gib * 2**30))
    settings = InfluenceSettings(per_token, step, products, eta)
    measured, samples, warnings = given.load(model)
    with reported("steps") as report:
        influence = measure_influence(measured, samples, settings, report)
    names = [describe_sample(sample) for sample in samples]
    results.give(
        "influence",
        influence_data(influence, samples, settings),
        influence_sheets(influence, names, settings, measured.name),
        influence_figures(influence, names, settings, measured.name, command_line()),
        warnings,
    )

"""`declutch coupling gradients`: cosines between mean gradients of good and bad samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.coupling_options import ResultOptions, SampleOptions, command_line
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import reported
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from declutch.coupling.gradients import GradientSettings


@dataclass(frozen=True)
class GradientOptions:
    """Options of the command `declutch coupling gradients` alone: its scopes, its reductions."""

    scope: Annotated[
        str,
        typer.Option(
            help="The parameters: all (a tied matrix once), no_embeddings, or layer.N, the first "
            "layer being layer.0. The tables have every scope."
        ),
    ] = "all"
    reduce: Annotated[
        str,
        typer.Option(
            help="What a population's gradient is the mean of: its tokens; its samples, each the "
            "mean of its tokens; or unit, its samples' gradients at unit norm."
        ),
    ] = "tokens"
    by_advantage: Annotated[
        bool,
        typer.Option("--by-advantage", help="Weigh each sample's gradient by its advantage."),
    ] = False
    temperature: Annotated[float, typer.Option(help="The logits are divided by it.")] = 1.0
    method: Annotated[
        str,
        typer.Option(
            help="exact keeps whole gradients, in several passes where memory is short; sketch "
            "keeps random sums of them; auto takes exact where up to 4 passes suffice."
        ),
    ] = "auto"
    sketch_width: Annotated[
        int, typer.Option(min=16, help="How many numbers a group of parameters is sketched to.")
    ] = 2**16
    memory_gib: Annotated[float, typer.Option(help="GiB of memory that gradients may take.")] = 4.0
    seed: Annotated[
        int, typer.Option(help="The seed of permutations, splits, resamplings and sketches.")
    ] = 0
    every_checkpoint: Annotated[
        bool,
        typer.Option(
            "--every-checkpoint",
            help="Of a run folder without --samples: every checkpoint instead of the last.",
        ),
    ] = False
    gram: Annotated[
        bool,
        typer.Option("--gram", help="Write the inner products of all pairs to the JSON, too."),
    ] = False

    def settings(self) -> GradientSettings:
        """The settings of the measurement. Raises UserError."""
        from declutch.coupling.gradients import GradientSettings
        from declutch.coupling.gram import GramSettings

        products = GramSettings(
            temperature=self.temperature,
            method=self.method,
            memory=int(self.memory_gib * 2**30),
            width=self.sketch_width,
            seed=self.seed,
        )
        return GradientSettings(
            scope=self.scope,
            reduce=self.reduce,  # type: ignore[arg-type]
            by_advantage=self.by_advantage,
            seed=self.seed,
            gram=products,
        )


@grouped
def gradients_command(
    model: Annotated[
        Path,
        typer.Argument(help="A model folder, or a run folder, which stands for its checkpoint."),
    ],
    played: GivenSettings,
    given: SampleOptions,
    options: GradientOptions,
    results: ResultOptions,
) -> None:
    """Compare mean gradients of good and bad samples, in domain and out of it, by cosines.

    Without --samples, MODEL plays for them as the settings under coupling say: a run folder by its
    own settings, and what is found goes to the folder, for its report; a model folder, or a run
    folder with other settings, by those that are given, such as env.suite=math.
    """
    from declutch.coupling.gradients import (
        gradient_data,
        gradient_figures,
        gradient_sheets,
        measure_gradients,
    )

    settings = options.settings()
    if given.samples is None:
        from declutch.cli.coupling_run import measure_play, measure_run

        if played.items or played.config:
            if options.every_checkpoint:
                raise UserError("--every-checkpoint takes the settings of the run; give no others")
            measure_play(model, played, settings, results)
        else:
            measure_run(model, settings, options.every_checkpoint, results)
        return
    if played.items or played.config:
        raise UserError("settings say how a model plays for samples; --samples has them already")
    measured, samples, warnings = given.load(model)
    with reported("gradients") as report:
        result = measure_gradients(measured, samples, settings, report)
    warnings += result.populations.warnings
    results.give(
        "gradients",
        gradient_data(result, options.gram),
        gradient_sheets(result),
        gradient_figures(result, command_line()),
        warnings,
    )

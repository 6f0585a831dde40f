"""`declutch coupling layers`: how far two models are apart, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.coupling_options import ResultOptions, SampleOptions, command_line
from declutch.cli.options import grouped


@grouped
def layers_command(
    model_a: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    model_b: Annotated[Path, typer.Argument(help="Another of the same shape.")],
    given: SampleOptions,
    results: ResultOptions,
) -> None:
    """Compare the hidden states and logits of two models after every layer."""
    from declutch.coupling.layers import compare_layers, layer_data, layer_figures, layer_sheet
    from declutch.coupling.measured import load_measured

    first, samples, warnings = given.load(model_a)
    second = load_measured(model_b, given.dtype, given.device, given.end_token)
    distances = compare_layers(first, second, samples)
    names = (first.name, second.name)
    results.give(
        "layers",
        layer_data(distances),
        [layer_sheet(distances, names, len(samples))],
        layer_figures(distances, names, len(samples), command_line()),
        warnings,
    )

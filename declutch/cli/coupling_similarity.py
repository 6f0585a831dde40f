"""`declutch coupling similarity`: how alike the prompts of samples are to a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.coupling_options import ResultOptions, SampleOptions, command_line
from declutch.cli.options import grouped


@grouped
def similarity_command(
    model: Annotated[
        Path,
        typer.Argument(help="A model folder, or a run folder, which stands for its checkpoint."),
    ],
    given: SampleOptions,
    results: ResultOptions,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against",
            help="More files of samples, such as problems of mathematics; repeat the option.",
        ),
    ] = None,
) -> None:
    """Compare how alike the prompts of samples are to a model, file by file."""
    import torch

    from declutch.coupling.similarity import (
        compare_embeddings,
        embed_prompts,
        similarity_data,
        similarity_figure,
        similarity_sheet,
    )

    measured, samples, warnings = given.load(model)
    files = {str(given.samples): samples}
    for path in against or ():
        found = replace(given, samples=path).read(measured)
        files[str(path)] = found.samples
        warnings += found.warnings
    embeddings = {name: embed_prompts(measured, each) for name, each in files.items()}
    mean = torch.cat(list(embeddings.values())).mean(0)
    compared = [(name, compare_embeddings(each, mean)) for name, each in embeddings.items()]
    embedder = (
        "mean over the prompt's tokens of the model's last hidden state, after the final norm"
    )
    results.give(
        "similarity",
        {
            **similarity_data(compared[0][1], samples),
            "files": {
                name: {"n": len(each.cosine), "mean": each.mean, "centred_mean": each.centred_mean}
                for name, each in compared
            },
        },
        [similarity_sheet(compared, measured.name, embedder)],
        [similarity_figure(compared, measured.name, embedder, command_line())],
        warnings,
    )

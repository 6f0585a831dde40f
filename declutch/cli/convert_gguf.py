"""`declutch convert-gguf`: the model in a GGUF file as a folder that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import grouped
from declutch.cli.terminal import console, held


@grouped
def convert_gguf_command(
    source: Annotated[
        str,
        typer.Argument(help="A GGUF file, or the name of an installed package that holds one."),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write the model to.")],
) -> None:
    """Write the model of a GGUF file to the folder OUT, which every command takes."""
    from declutch.models.gguf import convert_gguf

    with held(out, "declutch convert-gguf"):
        size = convert_gguf(source, out)
    console.print(f"{size / 1e6:.1f} M parameters written to {out}")

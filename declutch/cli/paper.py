"""`declutch paper`: every table and figure of both papers, and what makes it here."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import grouped
from declutch.cli.terminal import console, show


@grouped
def paper_command(
    item: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A table or figure, such as GC-T2; without: a list."),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders of `declutch train` to make it of."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The folder that results are made in.")] = Path(
        "paper"
    ),
) -> None:
    """List every table and figure of both papers with its command and state, or make one.

    What is made goes into a folder of its own below --out: tables as Markdown and CSV, figures as
    PNG, SVG and PDF with their data, and a note of the runs it was made of.
    """
    from declutch.coupling.paper import find_item, make_item, paper_sheet

    if item is None:
        show([paper_sheet(out)])
        return
    found = find_item(item)
    command = shlex.join(["declutch", "paper", found.id, *map(str, runs or ())])
    show(make_item(found, runs or [], out, command))
    console.print(f"made in {out / found.id}", soft_wrap=True)

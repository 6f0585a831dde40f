"""`declutch init-tiny`: a fresh, untrained model that is small enough for a laptop's CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console, held, open_suite, reported


@grouped
def init_tiny_command(
    out: Annotated[Path, typer.Argument(help="The folder to write the model to.")],
    given: GivenSettings,
) -> None:
    """Write to OUT a fresh Qwen2 of about 1 M parameters with the environment's words as tokens."""
    settings = given.load()

    from declutch.cold_start.pipeline import make_tiny

    with held(out, "declutch init-tiny"):
        suite = open_suite(settings)
        with reported("collecting words") as report:
            size = make_tiny(settings, suite, out, report)
    console.print(f"{size / 1e6:.2f} M parameters written to {out}")

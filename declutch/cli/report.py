"""`declutch report`: the self-contained HTML page about one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import grouped
from declutch.cli.terminal import console


@grouped
def report_command(
    run_dir: Annotated[Path, typer.Argument(help="A run folder of `declutch train`.")],
) -> None:
    """Write one self-contained HTML page about the run in RUN_DIR."""
    from declutch.report.build import build_report

    console.print(f"report: {build_report(run_dir)}", soft_wrap=True)

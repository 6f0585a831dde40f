"""`declutch envs`: trying out an environment, above all one of the user's own."""

from __future__ import annotations

from typing import Annotated

import typer

from declutch.cli.help import HelpApp
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import open_suite, show
from declutch.ground.errors import has_problem

app = HelpApp(help="Try out environments, above all your own.")


@app.command("check")
@grouped
def envs_check_command(
    suite: Annotated[
        str, typer.Argument(help="The environment, as package.module:Name or a suite's name.")
    ],
    given: GivenSettings,
) -> None:
    """Try out whether the environment SUITE is what training and evaluation rely on."""
    settings = given.load(f"env.suite={suite}")

    from declutch.envs.check import check_suite
    from declutch.report.findings import findings_sheet

    findings = check_suite(open_suite(settings))
    show([findings_sheet(findings)])
    if has_problem(findings):
        raise typer.Exit(1)

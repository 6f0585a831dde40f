"""`declutch envs`: trying out an environment, above all one of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.help import HelpApp
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console, open_suite, show
from declutch.ground.errors import has_problem

app = HelpApp(help="Try out environments, above all your own.")


@app.command("new")
def envs_new_command(
    folder: Annotated[
        Path, typer.Argument(metavar="NAME", help="The folder to write, and the module's name.")
    ],
) -> None:
    """Write the folder NAME with an environment to start from, its words, settings and a test."""
    from declutch.envs.new import class_name, write_environment

    files = write_environment(folder)
    spec = f"{folder.name}:{class_name(folder.name)}"
    console.print(
        f"written to {folder}: {', '.join(path.name for path in files)}\n"
        f"next: cd {folder} && declutch envs check {spec}",
        highlight=False,
        soft_wrap=True,
    )


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

"""`declutch coupling`: the diagnostics of gradient coupling, a command each."""

from __future__ import annotations

import typer

from declutch.cli.coupling_gradients import gradients_command

app = typer.Typer(
    no_args_is_help=True, help="Measure how learning from one sample moves the others."
)

app.command("gradients")(gradients_command)

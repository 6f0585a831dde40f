"""`declutch coupling`: the diagnostics of gradient coupling, a command each."""

from __future__ import annotations

from declutch.cli.coupling_gradients import gradients_command
from declutch.cli.help import HelpApp

app = HelpApp(help="Measure how learning from one sample moves the others.")

app.command("gradients")(gradients_command)

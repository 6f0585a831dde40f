"""`declutch coupling`: the diagnostics of gradient coupling, a command each."""

from __future__ import annotations

from declutch.cli.coupling_behaviour import behaviour_command
from declutch.cli.coupling_cases import cases_command
from declutch.cli.coupling_gradients import gradients_command
from declutch.cli.coupling_influence import influence_command
from declutch.cli.coupling_layers import layers_command
from declutch.cli.coupling_samples import samples_command
from declutch.cli.coupling_similarity import similarity_command
from declutch.cli.coupling_states import states_command
from declutch.cli.coupling_tokens import tokens_command
from declutch.cli.help import HelpApp

app = HelpApp(help="Measure how learning from one sample moves the others.")

app.command("samples")(samples_command)
app.command("states")(states_command)
app.command("gradients")(gradients_command)
app.command("influence")(influence_command)
app.command("tokens")(tokens_command)
app.command("layers")(layers_command)
app.command("similarity")(similarity_command)
app.command("behaviour")(behaviour_command)
app.command("cases")(cases_command)

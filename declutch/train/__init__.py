"""Training: the loop that drives the rooms, play, judge, credit, update, evaluate and save.

Takes all settings, a run folder and a suite of tasks; gives checkpoints, and writes metrics,
episodes and evaluations into the run folder. `loop` holds the loop itself, `session` what lives
from one iteration to the next, `learn` what an iteration's episodes change, `metrics` what is
recorded of it, and `suggest` the suggestions in training prompts.

May import every room before it, from `envs` to `runs`. It is the only room that knows all of them,
and one of the few that see all settings. Nothing but the command line imports it.

A new method belongs into `credit`, a new auxiliary task into `judge`, and a new metric into
`runs/catalogue.py` and `metrics`; a file is added here only for a step of the loop itself.
"""

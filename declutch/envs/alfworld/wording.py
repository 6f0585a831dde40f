"""The words that prompts use for household tasks, ALFWorld's and generated ones alike."""

from __future__ import annotations

from declutch.envs.alfworld.short import (
    compress_action,
    compress_observation,
    compress_room,
    compress_task,
)
from declutch.envs.wording import Wording, _state_task

HOUSEHOLD = Wording(
    scene="You control a robot in a household that is described in text.",
    work=(
        "works in a household described in text, on tasks such as putting a clean cup on a shelf"
    ),
    world="household",
    statement=_state_task,
    task=compress_task,
    room=lambda seen: compress_room(seen[0]),
    observation=compress_observation,
    action=compress_action,
)
"""ALFWorld and the generated households."""

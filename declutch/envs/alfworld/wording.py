"""The words that prompts use for household tasks, ALFWorld's and generated ones alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from declutch.envs.alfworld.excerpts import find_things
from declutch.envs.alfworld.short import (
    compress_action,
    compress_observation,
    compress_room,
    compress_task,
)
from declutch.envs.wording import Advice, Wording

_ADVICE: Mapping[str, Advice] = MappingProxyType(
    {
        "find": ("keep to places not seen yet", "search places not seen yet"),
        "open": ("open what is closed", "open what is closed first"),
        "take": ("take what the task needs", "take what the task needs at once"),
        "clean": ("change the object before placing it", "clean the object before placing it"),
        "heat": ("change the object before placing it", "heat the object before placing it"),
        "cool": ("change the object before placing it", "cool the object before placing it"),
        "use": ("bring the object to the lamp", "carry the object to the lamp"),
        "put": ("bring the object to its place", "bring the object to its place at once"),
    }
)

HOUSEHOLD = Wording(
    scene="You control a robot in a household that is described in text.",
    work=(
        "works in a household described in text, on tasks such as putting a clean cup on a shelf"
    ),
    world="household",
    task=compress_task,
    room=lambda seen: compress_room(seen[0]),
    observation=compress_observation,
    action=compress_action,
    advice=_ADVICE,
    words="closed start put clean heat cool two look",
    excerpts=find_things,
)
"""ALFWorld and the generated households."""

"""The words that prompts use for ScienceWorld."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from declutch.envs.scienceworld import short as science
from declutch.envs.scienceworld.excerpts import find_things
from declutch.envs.wording import Advice, Wording, state_task

_ADVICE: Mapping[str, Advice] = MappingProxyType(
    {
        "find": ("go where the next thing is", "go where the next thing is first"),
        "open": ("open what is closed", "open what is closed first"),
        "take": ("take what the task needs", "take what the task needs at once"),
        "focus": ("focus on what the task names", "focus on nothing but what the task names"),
        "put": ("bring each thing to its place", "bring each thing to its place at once"),
        "pour": ("bring together what belongs together", "bring the parts together first"),
        "mix": ("mix once all parts are there", "mix the parts first"),
        "connect": ("close the circuit step by step", "connect what the circuit lacks"),
        "start": ("switch on what has to work", "switch on what has to work first"),
        "use": ("measure before you decide", "measure first"),
        "inspect": ("look before you decide", "look first"),
        "wait": ("give it time", "give it time before you go on"),
    }
)


SCIENCE = Wording(
    scene="You carry out tasks of elementary school science in a world that is described in text.",
    work=(
        "carries out tasks of elementary school science in a world described in text, such as "
        "telling whether a spoon conducts electricity"
    ),
    world="simulator",
    statement=lambda intro: science.state_task(intro) or state_task(intro),
    task=science.shorten_task,
    room=science.remember_place,
    observation=science.shorten_observation,
    action=science.shorten_action,
    held=science.shorten_things,
    choice=(
        "exactly one of the possible actions, word for word, with one of the listed objects in "
        "the place of each OBJ"
    ),
    refusals=science.NOT_UNDERSTOOD,
    advice=_ADVICE,
    words=science.WORDS,
    excerpts=find_things,
)
"""ScienceWorld, whether its prompts list every action or forms with OBJ where an object goes."""

"""How the episodes of a suite are put into words: what differs between suites, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from declutch.agent import science
from declutch.agent.compact import (
    NOTHING_HAPPENS,
    compress_action,
    compress_observation,
    compress_room,
    compress_task,
    task_of,
)

Shorten = Callable[[str], str]
Advice = tuple[str, str]
"""A principle as said of a good step, and of a bad one."""

GENERAL_ADVICE: Advice = ("stay with the goal", "stay with the goal")
_HOUSEHOLD_ADVICE: Mapping[str, Advice] = MappingProxyType(
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
_SCIENCE_ADVICE: Mapping[str, Advice] = MappingProxyType(
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


@dataclass(frozen=True)
class Wording:
    """Words for one family of environments.

    Attributes:
        scene: the sentence that opens the full prompt.
        work: what the agent does, said to its critic: "Another agent <work>".
        world: what answers the agent's actions.
        statement: the task in full, from the first observation.
        task: the task in short, likewise.
        room: the place in short, from all observations so far, oldest first.
        observation, action, held: what is seen, what was done and what is carried, in short.
        choice: what an answer is to hold, said to the agent: "Then give <choice>".
        refusals: answers that say no more than that an action did nothing; the first one is the
            usual one.
        templates: names of template files that stand in the usual ones' place.
        advice: by phase of the expert's reasoning, the first word of it in short.
        words: what a tiny model has to know besides what is seen in plays.
    """

    scene: str
    work: str
    world: str
    statement: Shorten
    task: Shorten
    room: Callable[[Sequence[str]], str]
    observation: Shorten
    action: Shorten
    held: Shorten = str
    choice: str = "exactly one of the possible actions, word for word"
    refusals: tuple[str, ...] = (NOTHING_HAPPENS,)
    templates: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    advice: Mapping[str, Advice] = field(default_factory=lambda: _HOUSEHOLD_ADVICE)
    words: str = ""

    def is_refusal(self, observation: str) -> bool:
        """Whether an observation says no more than that the last action did nothing."""
        return observation.strip() in self.refusals


_WORDS = re.compile(r"\w+")


@lru_cache(maxsize=65536)
def lower_words(text: str) -> str:
    """The words and numbers of a text in lower case, nothing else."""
    return " ".join(_WORDS.findall(text.lower()))


def _state_task(intro: str) -> str:
    return task_of(intro) or " ".join(intro.split())


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

SCIENCE = Wording(
    scene="You carry out tasks of elementary school science in a world that is described in text.",
    work=(
        "carries out tasks of elementary school science in a world described in text, such as "
        "telling whether a spoon conducts electricity"
    ),
    world="simulator",
    statement=lambda intro: science.state_task(intro) or _state_task(intro),
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
    advice=_SCIENCE_ADVICE,
    words=science.WORDS,
)
"""ScienceWorld, whether its prompts list every action or forms with OBJ where an object goes."""

PLAIN = Wording(
    scene="You act in an environment that is described in text.",
    work="acts in an environment described in text",
    world="environment",
    statement=_state_task,
    task=lambda intro: lower_words(_state_task(intro)),
    room=lambda seen: "",
    observation=lower_words,
    action=lower_words,
)
"""Any environment: its own words in lower case."""

MATH = Wording(
    scene="You solve problems of mathematics.",
    work="solves problems of mathematics",
    world="examiner",
    statement=_state_task,
    task=lambda intro: "solve",
    room=lambda seen: "",
    observation=lambda text: " ".join(text.lower().split()),
    action=lambda text: " ".join(text.lower().split()),
    templates=MappingProxyType({"full_agent": "math_agent", "full_judge": "math_judge"}),
)
"""Problems of one step; signs and operators are words too."""

WORDINGS: Mapping[str, Wording] = MappingProxyType(
    {"alfworld": HOUSEHOLD, "households": HOUSEHOLD, "math": MATH, "scienceworld": SCIENCE}
)


def wording_of(suite: str) -> Wording:
    """The words for what `env.suite` names."""
    return WORDINGS.get(suite, PLAIN)

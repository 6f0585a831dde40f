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

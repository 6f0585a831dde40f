"""How the episodes of a suite are put into words: what differs between suites, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from declutch.agent.compact import (
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
        templates: names of template files that stand in the usual ones' place.
        task, room: the task and the place in short, from the first observation.
        observation, action: what is seen and what was done, in short.
    """

    scene: str
    work: str
    world: str
    task: Shorten
    room: Shorten
    observation: Shorten
    action: Shorten
    templates: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


_WORDS = re.compile(r"\w+")


@lru_cache(maxsize=65536)
def lower_words(text: str) -> str:
    """The words and numbers of a text in lower case, nothing else."""
    return " ".join(_WORDS.findall(text.lower()))


def _task_words(intro: str) -> str:
    return lower_words(task_of(intro) or intro)


HOUSEHOLD = Wording(
    scene="You control a robot in a household that is described in text.",
    work=(
        "works in a household described in text, on tasks such as putting a clean cup on a shelf"
    ),
    world="household",
    task=compress_task,
    room=compress_room,
    observation=compress_observation,
    action=compress_action,
)
"""ALFWorld and the generated households."""

PLAIN = Wording(
    scene="You act in an environment that is described in text.",
    work="acts in an environment described in text",
    world="environment",
    task=_task_words,
    room=lambda intro: "",
    observation=lower_words,
    action=lower_words,
)
"""Any environment: its own words in lower case."""

MATH = Wording(
    scene="You solve problems of mathematics.",
    work="solves problems of mathematics",
    world="examiner",
    task=lambda intro: "solve",
    room=lambda intro: "",
    observation=lambda text: " ".join(text.lower().split()),
    action=lambda text: " ".join(text.lower().split()),
    templates=MappingProxyType({"full_agent": "math_agent", "full_judge": "math_judge"}),
)
"""Problems of one step; signs and operators are words too."""

WORDINGS: Mapping[str, Wording] = MappingProxyType(
    {"alfworld": HOUSEHOLD, "households": HOUSEHOLD, "math": MATH}
)


def wording_of(suite: str) -> Wording:
    """The words for what `env.suite` names."""
    return WORDINGS.get(suite, PLAIN)

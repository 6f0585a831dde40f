"""How the episodes of a suite are put into words: what differs between suites, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from declutch.envs.alfworld.short import (
    NOTHING_HAPPENS,
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

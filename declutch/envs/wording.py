"""How the episodes of a suite are put into words: what differs between suites, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from declutch.envs.excerpts import Excerpt, FindExcerpts, quote_sentences

NOTHING_HAPPENS = "Nothing happens."
"""The usual answer to an action that does nothing."""

Shorten = Callable[[str], str]
"""Makes a few words of a text, for the compact prompt."""
Advice = tuple[str, str]
"""A principle as it is said of a good step, and as it is said of a bad one."""

GENERAL_ADVICE: Advice = ("stay with the goal", "stay with the goal")

_TASK = re.compile(r"Your task is to: (.*?)\s*$", re.DOTALL)
_WORDS = re.compile(r"\w+")


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@lru_cache(maxsize=4096)
def task_of(intro: str) -> str:
    """For prompts' wording, the task after "Your task is to:" in a first observation, else ""."""
    match = _TASK.search(intro)
    return match[1].strip().rstrip(".") if match else ""


def state_task(intro: str) -> str:
    """For prompts' wording, state any environment's task, or its whole first observation."""
    return task_of(intro) or " ".join(intro.split())


@lru_cache(maxsize=65536)
def lower_words(text: str) -> str:
    """For wording a text in short: its words and numbers in lower case, without punctuation."""
    return " ".join(_WORDS.findall(text.lower()))


def _short_task(intro: str) -> str:
    return lower_words(state_task(intro))


def _no_place(seen: Sequence[str]) -> str:
    return ""


@dataclass(frozen=True)
class Wording:
    """The wording of one family of environments: the words of its prompts, and of shortened texts.

    A suite brings its own as the attribute `wording`; what it leaves out here is said in the words
    of any environment.

    Attributes:
        scene: the sentence that opens the full prompt.
        work: what the agent does, said to its critic: "Another agent <work>".
        world: what answers the agent's actions.
        statement: the task in full, from the first observation.
        task: the task in short, likewise.
        room: the place in short, from all observations so far, oldest first.
        observation: an observation in short, for the compact prompt.
        action: an action of the past in short, likewise.
        held: what is carried in short, likewise.
        choice: what an answer is to hold, said to the agent: "Then give <choice>".
        refusals: observations that say no more than that an action did nothing; the first one is
            the usual one.
        templates: texts that stand in the place of the agent's own prompt templates, by the name
            of the template, such as "full_agent".
        advice: what the critic advises, by phase of the expert's reasoning, which is the first
            word of its short thought.
        words: what a tiny model has to know besides what is seen in plays.
        excerpts: finds in the observations of one episode, the first one first, what may distract
            in other tasks, see `find_excerpts`; None takes any environment's sentences.
    """

    scene: str = "You act in an environment that is described in text."
    work: str = "acts in an environment described in text"
    world: str = "environment"
    statement: Shorten = state_task
    task: Shorten = _short_task
    room: Callable[[Sequence[str]], str] = _no_place
    observation: Shorten = lower_words
    action: Shorten = lower_words
    held: Shorten = str
    choice: str = "exactly one of the possible actions, word for word"
    refusals: tuple[str, ...] = (NOTHING_HAPPENS,)
    templates: Mapping[str, str] = field(default_factory=_nothing)
    advice: Mapping[str, Advice] = field(default_factory=_nothing)
    words: str = ""
    excerpts: FindExcerpts | None = None

    def is_refusal(self, observation: str) -> bool:
        """Whether an observation says no more than that the last action did nothing."""
        return observation.strip() in self.refusals

    def find_excerpts(self, texts: Sequence[str]) -> Sequence[Excerpt]:
        """Find in an episode's observations what prompts of other tasks may show as distractors.

        Args:
            texts: the observations, the first one first.
        """
        if self.excerpts is not None:
            return self.excerpts(texts)
        first, later = texts[:1], texts[1:]
        told = (text for text in later if not self.is_refusal(text))
        return quote_sentences((*first, *told), self.observation)


PLAIN = Wording()
"""Any environment: its own words in lower case."""

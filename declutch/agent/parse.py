"""Reading responses: pure functions that nothing a model can emit will crash.

Validity of the format and admissibility of the action are two things: a response may be perfectly
formed and name an action that does nothing, and the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from declutch.config.section import Reasoning
from declutch.records import META_TAGS, Action

REASONING_TAGS: Final[Mapping[Reasoning, tuple[str, ...]]] = MappingProxyType(
    {"think": ("think",), "meta": META_TAGS}
)
"""The tags that an agent's reasoning may be inside, of which a response has exactly one block."""

_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_TAG = re.compile(r"</?(?:think|action|answer|advise)>")

_JUDGMENT = re.compile(
    r"\s*<think>(?P<thought>.*?)</think>"
    r"\s*<answer>(?P<answer>.*?)</answer>"
    r"(?:\s*<action>(?P<action>.*?)</action>)?"
    r"\s*<advise>(?P<advice>.*?)</advise>\s*",
    re.DOTALL,
)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_PREDICTION = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_ADVICE = re.compile(r"<advise>(.*?)</advise>", re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*\{\s*([01])\s*\}")


@dataclass(frozen=True)
class _Grammar:
    """How to read a response: whole, its reasoning alone, and what is a tag in it."""

    response: re.Pattern[str]
    reasoning: re.Pattern[str]
    tag: re.Pattern[str]

    @staticmethod
    def of(tags: tuple[str, ...]) -> _Grammar:
        names = "|".join(tags)
        block = rf"<(?P<tag>{names})>(?P<thought>.*?)</(?P=tag)>"
        return _Grammar(
            re.compile(rf"\s*{block}\s*<action>(.*?)</action>\s*", re.DOTALL),
            re.compile(block, re.DOTALL),
            re.compile(rf"</?(?:{names}|think|action|answer|advise)>"),
        )


_GRAMMARS = {style: _Grammar.of(tags) for style, tags in REASONING_TAGS.items()}


@dataclass(frozen=True)
class Verdict:
    """A judgment as parsed from the judge's response: the verdict, its reason and its advice.

    Attributes:
        value: 1 good, 0 bad, None when no verdict, or more than one, could be read.
        thought, advice: their texts, "" when absent.
        better_action: the action proposed instead, "" when absent.
        is_valid: the judgment had the required format.
    """

    value: int | None
    thought: str
    advice: str
    better_action: str
    is_valid: bool


def parse_response(
    text: str, admissible: tuple[str, ...], reasoning: Reasoning = "think"
) -> Action:
    """Parse an agent's response, whatever its form: read the action and the reasoning from it.

    The format is one block of reasoning followed by one `<action>` block and nothing else. An
    action is still read from a badly formed response when exactly one `<action>` block is there,
    so that validity costs what the configuration says and not the whole step; likewise the first
    block of reasoning.

    Args:
        text: the whole response, an opening tag given by the prompt included.
        admissible: commands the environment would act on; () where any answer will do.
        reasoning: which tags the reasoning may be inside, see `REASONING_TAGS`.
    """
    grammar = _GRAMMARS[reasoning]
    is_valid = grammar.response.fullmatch(text) is not None and len(grammar.tag.findall(text)) == 4
    actions = _ACTION.findall(text)
    action = _squeeze(actions[0]) if len(actions) == 1 else ""
    block = grammar.reasoning.search(text)
    return Action(
        text=action,
        thought=block["thought"].strip() if block else "",
        tag=block["tag"] if block else "",
        is_valid=is_valid and action != "",
        is_admissible=action in admissible if admissible else action != "",
        response=text,
    )


def drop_thought(text: str) -> str:
    """Parse a reply of a model that thinks by itself: leave its thought out, read what follows.

    Such a thought may weigh several answers, and its opening tag may be missing. A reply that ends
    within the thought is left as it is.
    """
    after = text.rpartition("</think>")[2]
    return after if after.strip() else text


def parse_verdict(text: str) -> Verdict:
    r"""Parse the judge's response into a `Verdict`, from its `\boxed{0}` or `\boxed{1}`.

    Two different verdicts in one answer are no verdict: a judge must not be paid for hedging.
    """
    match = _JUDGMENT.fullmatch(text)
    tags = 8 if match is not None and match["action"] is not None else 6
    answers = _ANSWER.findall(text)
    verdicts = set(_BOXED.findall(answers[0])) if len(answers) == 1 else set()
    value = int(verdicts.pop()) if len(verdicts) == 1 else None
    advices = _ADVICE.findall(text)
    thoughts = _THOUGHT.findall(text)
    actions = _ACTION.findall(text)
    return Verdict(
        value=value,
        thought=thoughts[0].strip() if thoughts else "",
        advice=advices[0].strip() if len(advices) == 1 else "",
        better_action=_squeeze(actions[0]) if len(actions) == 1 else "",
        is_valid=match is not None and value is not None and len(_TAG.findall(text)) == tags,
    )


def parse_prediction(text: str) -> Action:
    """Parse a response that predicts an observation: read the text of it, "" when there is none."""
    answers = _ANSWER.findall(text)
    answer = _squeeze(answers[0]) if len(answers) == 1 else ""
    thoughts = _THOUGHT.findall(text)
    is_whole = _PREDICTION.fullmatch(text) is not None and len(_TAG.findall(text)) == 4
    return Action(
        text=answer,
        thought=thoughts[0].strip() if thoughts else "",
        tag="think" if thoughts else "",
        is_valid=is_whole and answer != "",
        is_admissible=answer != "",
    )


def _squeeze(text: str) -> str:
    return " ".join(text.split())

"""The words that prompts use for problems of mathematics."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from types import MappingProxyType

from declutch.envs.excerpts import Excerpt, telling_words
from declutch.envs.wording import Wording


def _template(name: str) -> str:
    return (resources.files("declutch.envs.math") / "templates" / f"{name}.txt").read_text("utf-8")


def _lower(text: str) -> str:
    return " ".join(text.lower().split())


MOST_WORDS = 60
"""The words of another problem that is shown, at most: longer ones are mostly about the format."""


def find_problems(texts: Sequence[str]) -> list[Excerpt]:
    """For mathematics' wording, find in an episode what may distract in others: its problem.

    In the compact prompt two problems could not be told apart, so it stands in the full one alone.
    """
    words = texts[0].replace('"', "'").split() if texts else []
    problem = " ".join(words)
    text = f'Another problem, which is not asked here, reads: "{problem}"'
    return [Excerpt(text, "", telling_words(problem))] if 0 < len(words) <= MOST_WORDS else []


MATH = Wording(
    scene="You solve problems of mathematics.",
    work="solves problems of mathematics",
    world="examiner",
    task=lambda intro: "solve",
    observation=_lower,
    action=_lower,
    templates=MappingProxyType(
        {"full_agent": _template("agent"), "full_judge": _template("judge")}
    ),
    excerpts=find_problems,
)
"""Problems of one step; in short, signs and operators are words too."""

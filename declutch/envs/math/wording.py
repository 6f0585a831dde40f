"""The words that prompts use for problems of mathematics."""

from __future__ import annotations

from importlib import resources
from types import MappingProxyType

from declutch.envs.wording import Wording


def _template(name: str) -> str:
    return (resources.files("declutch.envs.math") / "templates" / f"{name}.txt").read_text("utf-8")


def _lower(text: str) -> str:
    return " ".join(text.lower().split())


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
)
"""Problems of one step; in short, signs and operators are words too."""

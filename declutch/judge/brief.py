"""The judge's question in six lines after worked examples, for language models of few parameters.

A model of a hundred million parameters does not keep to the form of the full question. It goes on
as earlier turns of a conversation went, so the examples are such turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from declutch.agent.prompt import View, seen_text
from declutch.envs.wording import Wording

HISTORY_LENGTH = 4
"""How many of the last actions are shown; with more, the question outgrows the examples."""

_NO_STEPS = "nothing"


@dataclass(frozen=True)
class _Example:
    """A step of a household game, and the verdict on its action."""

    task: str
    history: tuple[str, ...]
    inventory: str
    observation: str
    action: str
    verdict: int


# Each verdict twice, a good step first and a bad one last: of the orders that were tried, the one
# after which a small model most often answers with either verdict rather than something else.
_EXAMPLES = (
    _Example(
        task="put a cup in cabinet",
        history=("go to table 1",),
        inventory="",
        observation="You arrive at table 1. On the table 1, you see a cup 1, and a pen 2.",
        action="take cup 1 from table 1",
        verdict=1,
    ),
    _Example(
        task="put a cup in cabinet",
        history=("go to drawer 1", "open drawer 1"),
        inventory="",
        observation="You open the drawer 1. The drawer 1 is open. In it, you see nothing.",
        action="close drawer 1",
        verdict=0,
    ),
    _Example(
        task="look at book under the lamp",
        history=("go to shelf 2", "take book 1 from shelf 2"),
        inventory="a book 1",
        observation="You pick up the book 1 from the shelf 2.",
        action="go to desk 1",
        verdict=1,
    ),
    _Example(
        task="put a clean plate in fridge",
        history=("go to shelf 1", "go to sink 1", "go to shelf 1"),
        inventory="",
        observation="You arrive at shelf 1. On the shelf 1, you see nothing.",
        action="go to sink 1",
        verdict=0,
    ),
)


def write_brief_question(view: View, action: str, wording: Wording) -> tuple[tuple[str, str], ...]:
    """Write the judge's brief question about one action, as a conversation after worked examples.

    Args:
        view: what the agent knew.
        action: what it did, "" where its response could not be read.
        wording: the suite's words; the examples are of a household in every suite.
    Returns:
        (role, content) pairs; the examples' answers are verdicts that `parse_verdict` reads.
    """
    turns: list[tuple[str, str]] = []
    for example in _EXAMPLES:
        question = _question(
            example.task, example.history, example.inventory, example.observation, example.action
        )
        turns += [("user", question), ("assistant", _answer(example.verdict))]
    did = [done for _, done in view.history]
    task, seen = wording.statement(view.intro), seen_text(view, len(did), wording)
    return (*turns, ("user", _question(task, did, view.inventory, seen, action)))


def _question(
    task: str, history: Sequence[str], inventory: str, observation: str, action: str
) -> str:
    return _template().format(
        task=_line(task),
        history=", ".join(history[-HISTORY_LENGTH:]) or _NO_STEPS,
        inventory=inventory or _NO_STEPS,
        observation=_line(observation),
        action=action or _NO_STEPS,
    )


def _answer(verdict: int) -> str:
    return f"<answer>\\boxed{{{verdict}}}</answer>"


def _line(text: str) -> str:
    return " ".join(text.split())


@cache
def _template() -> str:
    folder = resources.files("declutch.agent") / "templates"
    return (folder / "brief_judge.txt").read_text("utf-8").rstrip()

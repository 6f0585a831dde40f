"""Evaluations made by hand or at random, and how their tables look on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from builders import make_action, make_episode, make_step
from rich.console import Console

from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.exam_results import JudgedStep, JudgeResult, LabelCounts
from declutch.evaluation.results import EvalResult, GameResult
from declutch.records import Episode, Outcome
from declutch.report.drawers.terminal import draw_terminal
from declutch.report.sheet import Sheet

COUNTS = ActionCounts(steps=10, repeated=2, looped=4, repeated_or_looped=5, response_tokens=90)


def play(level: str, name: str, won: bool, *, seed: int = 0, kind: str = "look", counts=COUNTS):
    outcome = Outcome.WON if won else Outcome.TIMED_OUT
    return GameResult(level, name, kind, seed, outcome, float(won), counts)


def make_result(games, **changes) -> EvalResult:
    plain = EvalResult("run/10", 0.4, "strict", {"L0": "aa11"}, tuple(games), "households", 30)
    return replace(plain, **changes)


def random_result(seed: int, share: float = 0.6, num_games: int = 40, seeds=(0,)) -> EvalResult:
    rng = np.random.default_rng(seed)
    return make_result(
        play(
            level,
            f"game-{index}",
            bool(rng.random() < share),
            seed=s,
            kind=("look", "heat")[index % 2],
        )
        for level in ("L0", "L1", "L2")
        for index in range(num_games)
        for s in seeds
    )


def scored(level: str = "L0") -> list[GameResult]:
    """Five plays of different ends; 1 of the 4 that count is won, 2 are finished positive."""
    ends = {
        "won": (Outcome.WON, 1.0),
        "finished": (Outcome.FAILED, 0.5),
        "mistaken": (Outcome.FAILED, 0.0),
        "too slow": (Outcome.TIMED_OUT, 0.75),
        "broken": (Outcome.ENV_ERROR, 0.9),
    }
    return [
        replace(play(level, name, False), outcome=outcome, score=score)
        for name, (outcome, score) in ends.items()
    ]


def judged(name: str, label: int, good: int, bad: int, unreadable: int = 0) -> JudgedStep:
    return JudgedStep("L0", name, "look", 0, 3, label, good, bad, unreadable)


_STEPS = (
    *(judged("a", 1, 2, 0), judged("a", 0, 1, 0, 1), judged("b", 1, 1, 1), judged("c", 0, 0, 2)),
    *(judged("c", 1, 0, 1, 1), judged("d", 0, 2, 0)),
)
JUDGMENTS = JudgeResult("me", "oracle", 0.4, {"L0": LabelCounts(100, 45, 15)}, _STEPS)
JUDGED = EvalResult("me", 0.4, "strict", {}, (), "households", 30, judge=JUDGMENTS)


def labelled(texts: str, oracle: str, *, won: bool = False) -> Episode:
    """An episode that saw `texts`, with the oracle's labels: g, b or "-"."""
    marks = {"g": 1, "b": 0, "-": None}
    action = replace(make_action("look"), response="<think>t</think><action>look</action>")
    steps = [
        replace(make_step(observation=text, action=action), oracle_label=marks[mark])
        for text, mark in zip(texts, oracle, strict=True)
    ]
    return make_episode(0, [], Outcome.WON if won else Outcome.FAILED, steps)


LABELLED = [labelled("abac", "bg-g", won=True), labelled("xyx", "gbb")]
"""By the rule: bad, -, -, good; bad, -, -."""


def render(sheet: Sheet, width: int = 200) -> str:
    """What a terminal of that width shows of a table."""
    console = Console(file=io.StringIO(), width=width)
    console.print(draw_terminal(sheet))
    return console.file.getvalue()

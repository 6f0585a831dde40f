"""Evaluations, measured coupling and run folders of a comparison, made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from declutch.config.files import dump_config, parse_config
from declutch.config.run import Config
from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.results import EvalResult, GameResult, save_result
from declutch.records import Outcome
from declutch.runs.coupling import PAIRS

COUNTS = ActionCounts(steps=10, repeated=0, looped=0, repeated_or_looped=0, response_tokens=90)
LEVELS = ("L0", "L1", "L2")


def make_evaluation(won: Mapping[str, str], protocol: str = "strict") -> EvalResult:
    """One evaluation; `won` gives each level's games, "1" for a win: {"L0": "1100"}."""
    games = [
        GameResult(
            level,
            f"game-{index}",
            ("heat", "look")[index % 2],
            0,
            Outcome.WON if mark == "1" else Outcome.TIMED_OUT,
            float(mark),
            COUNTS,
        )
        for level, marks in won.items()
        for index, mark in enumerate(marks)
    ]
    manifests = {level: f"{level}-games" for level in won}
    return EvalResult("a policy", 0.4, protocol, manifests, tuple(games), "households", 30)


def write_run(
    folder: Path,
    evaluations: Mapping[int, EvalResult],
    seconds: Sequence[float] = (),
    config: Config | None = None,
) -> Path:
    """A run folder with evaluations; `seconds` of training are those of its iterations.

    An iteration that was evaluated says that this took 100 seconds more.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(config or parse_config({}, "test")))
    for iteration, result in evaluations.items():
        save_result(result, folder / "evals" / f"iteration_{iteration:04d}.json")
    with (folder / "metrics.jsonl").open("w") as file:
        for iteration, spent in enumerate(seconds, start=1):
            row = {"iteration": iteration, "time/play": spent / 4, "time/iteration": spent}
            if iteration in evaluations:
                row |= {"time/eval": 100.0, "time/iteration": spent + 100.0}
            file.write(json.dumps(row) + "\n")
    return folder


def write_coupling(folder: Path, iteration: int, cosine: float, across: float, split=0.9, n=9):
    values = {"pp": cosine, "nn": cosine, "pn": across, "np": across}
    data = {
        "iteration": iteration,
        "n": {"in_pos": n},
        "cosine": values,
        "corrected": values,
        "split_half": dict.fromkeys(PAIRS, split),
        "interval": {pair: [0.1, 0.9] for pair in PAIRS},
        "null": {"contrast": {"p": 0.5}},
    }
    path = folder / "coupling" / f"iteration_{iteration:04d}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))

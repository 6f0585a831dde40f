"""Small evaluations and run folders made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from declutch.config.files import dump_config, parse_config
from declutch.config.run import Config
from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.results import EvalResult, GameResult, save_result
from declutch.records import Outcome

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


@pytest.fixture
def evaluation() -> Callable[..., EvalResult]:
    return make_evaluation


@pytest.fixture
def grid_folder(tmp_path: Path) -> Path:
    """Two methods, one of them with and without GCD, with numbers that can be done by hand.

    Success at iteration 2 on (L0, L1, L2), games of 4 a level: a s0 (3, 2, 1), a s1 (4, 2, 0),
    a+gcd s0 (4, 2, 2), b s1 (2, 2, 2); the cold start (2, 1, 1). Seconds of two iterations: a s0
    10, a s1 12, a+gcd s0 20 (its second evaluation is too late), b s1 8.
    """
    start = make_evaluation({"L0": "1100", "L1": "1000", "L2": "1000"})
    middle = make_evaluation({"L0": "1111", "L1": "1111", "L2": "1111"})
    ends = {
        "a_s0": ({"L0": "1110", "L1": "1100", "L2": "1000"}, (5.0, 5.0)),
        "a_s1": ({"L0": "1111", "L1": "1100", "L2": "0000"}, (4.0, 8.0)),
        "a+gcd_s0": ({"L0": "1111", "L1": "1100", "L2": "1100"}, (7.0, 13.0)),
        "b_s1": ({"L0": "1100", "L1": "1100", "L2": "1100"}, (4.0, 4.0)),
    }
    for name, (won, seconds) in ends.items():
        results = {0: start, 1: middle, 2: make_evaluation(won)}
        write_run(tmp_path / "grid" / name, results, seconds)
    return tmp_path / "grid"


@pytest.fixture
def run_writer() -> Callable[..., Path]:
    return write_run

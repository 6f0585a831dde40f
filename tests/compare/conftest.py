"""Small evaluations and run folders made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from compared import make_evaluation, write_run

from declutch.evaluation.results import EvalResult


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

"""Intervals over runs and games hold the truth about as often as they say, by simulation."""

from __future__ import annotations

import pytest

from benchmarks.coverage import coverage_rows

CONSERVATIVE = {("success", 2): 0.99, ("success", 3): 0.98, ("unpaired", 2): 0.99}
"""Where intervals hold more often than 97 times in 100, and up to how often: with two or three runs
whose own spread is small beside the spread that the intervals have to allow for."""


@pytest.mark.long
def test_intervals_over_runs_and_games_hold_their_coverage() -> None:
    """2,000 evaluations a row have an error of .35 to .5 points, and half a point is allowed."""
    for spread, num_runs, found in coverage_rows(2000, seed=1):
        for name, coverage in found.items():
            most = CONSERVATIVE.get((name, num_runs), 0.98 if spread == 0 else 0.97)
            words = f"{name} of {num_runs} runs with spread {spread}: {coverage}"
            assert 0.93 <= coverage.held <= most + 0.005, words

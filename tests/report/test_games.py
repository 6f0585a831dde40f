"""Tables of games on a terminal: counts, the expert, gold paths."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from evaluations import render

from declutch.envs.alfworld.match import VerifyReport
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.households.generate import HouseholdCounts, ensure_households
from declutch.envs.scienceworld.gold import GoldPath
from declutch.evaluation.expert import ExpertRow
from declutch.records import TaskId
from declutch.report.games import expert_sheet, games_sheet, gold_sheet, verify_sheet


def task(kind: str, number: int) -> TaskId:
    return TaskId("scienceworld", "dev", number, f"{kind}/{number}", kind)


def test_expert_table():
    rows = [ExpertRow("heat", 8, 6, 8, 9.5, 7.0), ExpertRow("all", 8, 6, 8, 9.5, math.nan)]
    lines = [line.split() for line in render(expert_sheet("train", rows)).splitlines()]
    assert ["heat", "8", "75.0", "100.0", "9.5", "7.0"] in lines
    assert ["all", "8", "75.0", "100.0", "9.5", "–"] in lines


def test_a_row_says_how_many_are_solved_and_in_time():
    found = {
        task("boil", 0): GoldPath(("a",) * 30, 40, 100),
        task("boil", 1): GoldPath(("a",) * 31, 40, 100),
        task("boil", 2): GoldPath((), 40, 12, "ends with score 12"),
        task("melt", 0): GoldPath(("a",) * 4, 9, 100),
    }
    lines = [line.split() for line in render(gold_sheet(found, "L0", 30)).splitlines()]
    assert ["boil", "3", "2", "33.3", "31", "31"] in lines
    assert ["melt", "1", "1", "100.0", "4", "4"] in lines
    assert ["all", "4", "3", "50.0", "30", "31"] in lines


def test_games_table_counts_every_split(tmp_path: Path):
    folder = ensure_households(tmp_path, 0, HouseholdCounts(12, 12, 12))
    suite = AlfworldSuite(folder, "households")
    lines = [line.split() for line in render(games_sheet(suite)).splitlines()]
    assert ["pick_and_place_simple", "2", "2", "2"] in lines
    assert ["all", "12", "12", "12"] in lines


def test_engines_compared_are_counted_by_group():
    counts = {"games": Counter(b=2, a=1), "walks": Counter(expert=3), "executed": Counter()}
    report = VerifyReport(num_games=3, num_steps=90, num_nonsense=4, num_won=2, **counts)
    text = render(verify_sheet(report, 5))
    assert "3 games, 90 steps, seed 5" in text
    lines = [line.split() for line in text.splitlines()]
    for line in (["games"], ["a", "1"], ["b", "2"], ["expert", "3"], ["walks", "won", "2"]):
        assert line in lines

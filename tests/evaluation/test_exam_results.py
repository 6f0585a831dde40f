"""What verdicts on labelled steps come to: numbers by hand, file, table."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from declutch.evaluation.exam_results import (
    JudgedStep,
    JudgeResult,
    LabelCounts,
    summarise_judgments,
)
from declutch.evaluation.intervals import wilson
from declutch.evaluation.results import EvalResult, from_json, to_json
from declutch.report.drawers.terminal import draw_terminal
from declutch.report.tables import judge_sheet


def judged(name: str, label: int, good: int, bad: int, unreadable: int = 0) -> JudgedStep:
    return JudgedStep("L0", name, "look", 0, 3, label, good, bad, unreadable)


STEPS = (
    *(judged("a", 1, 2, 0), judged("a", 0, 1, 0, 1), judged("b", 1, 1, 1), judged("c", 0, 0, 2)),
    *(judged("c", 1, 0, 1, 1), judged("d", 0, 2, 0)),
)
RESULT = JudgeResult("me", "oracle", 0.4, {"L0": LabelCounts(100, 45, 15)}, STEPS)
EVALUATION = EvalResult("me", 0.4, "strict", {}, (), "households", 30, judge=RESULT)


def test_a_level_by_hand() -> None:
    (row,) = summarise_judgments(RESULT)
    assert (row.level, row.num_steps, row.num_games) == ("L0", 6, 4)
    assert (row.accuracy.mean, row.accuracy.n) == (5 / 12, 12)
    assert (row.accuracy_good.mean, row.accuracy_bad.mean) == (3 / 6, 2 / 6)
    assert row.false_good == 3 / 6
    assert row.unreadable == 2 / 12
    assert row.good_share == row.constant == 1 / 2
    assert row.labelled_good_share == row.labelled_constant == 3 / 4
    assert row.labelled_accuracy == pytest.approx(3 / 4 * 3 / 6 + 1 / 4 * 2 / 6)


def test_a_step_judged_often_is_no_more_evidence_than_its_game() -> None:
    once = [judged(str(game), 1, int(game < 12), int(game >= 12)) for game in range(20)]
    often = [replace(step, good=8 * step.good, bad=8 * step.bad) for step in once]
    rows = [summarise_judgments(replace(RESULT, steps=tuple(s)))[0] for s in (once, often)]
    expected = wilson(12, 20)
    for row in rows:
        assert row.accuracy.mean == expected.mean
        # A sample's variance divides by one less.
        assert row.accuracy.high - row.accuracy.low == pytest.approx(
            expected.high - expected.low, rel=0.03
        )
    assert [row.accuracy.n for row in rows] == [20, 160]


def test_nothing_judged_is_no_number() -> None:
    (row,) = summarise_judgments(replace(RESULT, steps=(), played={"L2": LabelCounts(7, 0, 0)}))
    assert (row.num_steps, row.accuracy.n, row.accuracy_good.n) == (0, 0, 0)
    for value in (row.good_share, row.unreadable, row.constant, row.labelled_accuracy):
        assert math.isnan(value)


def test_file_round_trip() -> None:
    assert from_json(to_json(EVALUATION)) == EVALUATION
    plain = replace(EVALUATION, judge=None)
    assert "judge" not in json.loads(to_json(plain))
    assert from_json(to_json(plain)) == plain


@pytest.mark.parametrize("damage", [{"played": 3}, {"steps": [[1]]}, {"columns": ["level"]}])
def test_a_damaged_part_is_no_evaluation(damage: dict) -> None:
    data = json.loads(to_json(EVALUATION))
    data["judge"] |= damage
    with pytest.raises(ValueError, match=r"missing|wrong|shorter|longer"):
        from_json(json.dumps(data))


def test_the_table_has_the_numbers() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(draw_terminal(judge_sheet(EVALUATION, RESULT)))
    lines = [line.split("  ") for line in console.file.getvalue().splitlines()]
    cells = {line[0].strip(): line[-1].strip() for line in lines}
    accuracy = summarise_judgments(RESULT)[0].accuracy
    interval = f"[{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]"
    assert cells["accuracy, %"] == f"41.7 {interval}"
    assert cells["unreadable, %"] == "16.7"
    assert cells['bad steps called "good", %'] == "50.0"
    assert cells["a constant verdict on them, %"] == "75.0"
    other = replace(RESULT, judge="you")
    console.print(draw_terminal(judge_sheet(EVALUATION, other)))
    title = " ".join(console.file.getvalue().split())
    assert "you judges the steps of me at temperature 0.4" in title

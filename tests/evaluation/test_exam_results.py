"""What verdicts on labelled steps come to: numbers by hand, file, table."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from evaluations import JUDGED, JUDGMENTS, judged

from declutch.evaluation.exam_results import (
    LabelCounts,
    summarise_judgments,
)
from declutch.evaluation.intervals import wilson
from declutch.evaluation.results import from_json, to_json


def test_a_level_by_hand() -> None:
    (row,) = summarise_judgments(JUDGMENTS)
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
    rows = [summarise_judgments(replace(JUDGMENTS, steps=tuple(s)))[0] for s in (once, often)]
    expected = wilson(12, 20)
    for row in rows:
        assert row.accuracy.mean == expected.mean
        # A sample's variance divides by one less.
        assert row.accuracy.high - row.accuracy.low == pytest.approx(
            expected.high - expected.low, rel=0.03
        )
    assert [row.accuracy.n for row in rows] == [20, 160]


def test_nothing_judged_is_no_number() -> None:
    (row,) = summarise_judgments(replace(JUDGMENTS, steps=(), played={"L2": LabelCounts(7, 0, 0)}))
    assert (row.num_steps, row.accuracy.n, row.accuracy_good.n) == (0, 0, 0)
    for value in (row.good_share, row.unreadable, row.constant, row.labelled_accuracy):
        assert math.isnan(value)


def test_file_round_trip() -> None:
    assert from_json(to_json(JUDGED)) == JUDGED
    plain = replace(JUDGED, judge=None)
    assert "judge" not in json.loads(to_json(plain))
    assert from_json(to_json(plain)) == plain


@pytest.mark.parametrize("damage", [{"played": 3}, {"steps": [[1]]}, {"columns": ["level"]}])
def test_a_damaged_part_is_no_evaluation(damage: dict) -> None:
    data = json.loads(to_json(JUDGED))
    data["judge"] |= damage
    with pytest.raises(ValueError, match=r"missing|wrong|shorter|longer|damaged"):
        from_json(json.dumps(data))

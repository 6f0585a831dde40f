"""A run folder read back: metrics of any version, and what is missing or damaged."""

import json
from pathlib import Path

import pytest

from declutch.ground.errors import UserError
from declutch.runs.folder import RunFolder
from declutch.runs.read import read_metrics, read_run


def write_lines(run: RunFolder, *lines: str) -> None:
    run.create().metrics_path.write_text("".join(line + "\n" for line in lines))


def test_metrics_of_the_version_before_have_todays_keys(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    row = {"iteration": 1, "suggestions/num_rules": 3.0, "agent/success": 0.5}
    write_lines(run, json.dumps(row))
    notes: list[str] = []
    (found,) = read_metrics(run, notes)
    assert found == {"iteration": 1, "suggestions/num_shown": 3.0, "agent/success": 0.5}
    assert notes == []


def test_metrics_are_in_order_and_the_last_word_on_an_iteration_counts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    rows = [(2, 0.1), (1, 0.2), (2, 0.3)]
    write_lines(run, *(json.dumps({"iteration": n, "agent/success": s}) for n, s in rows))
    found = read_metrics(run, [])
    assert [(row["iteration"], row["agent/success"]) for row in found] == [(1, 0.2), (2, 0.3)]


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_lines(run, '{"iteration": 1, "a": "word", "b": true, "c": null, "d": NaN, "e": 1}')
    notes: list[str] = []
    assert read_metrics(run, notes) == ({"iteration": 1, "d": None, "e": 1},)
    assert notes == ["Line 1 of metrics.jsonl holds no number for 'a'."]


def test_a_missing_iteration_is_noted_however_far_the_next_one_is(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_lines(run, *(json.dumps({"iteration": n, "agent/success": 0}) for n in (1, 2, 10**90)))
    notes: list[str] = []
    assert len(read_metrics(run, notes)) == 3
    assert notes == ["metrics.jsonl lacks iteration 3, but has later ones."]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        read_run(RunFolder(tmp_path / "absent"))
    with pytest.raises(UserError, match="neither config"):
        read_run(RunFolder(tmp_path))

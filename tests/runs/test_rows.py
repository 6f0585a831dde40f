"""Rows of metrics: what a line says is what was written, or the line is damaged."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declutch.runs.rows import CHECKSUM, read_row, write_row

ROW = {"iteration": 3, "train/success": 0.25, "update/loss": -1e-7, "time/total": 4.5}


def test_a_row_comes_back_as_it_was_written():
    row = read_row(write_row(ROW).encode())
    assert row is not None
    assert (row.iteration, row.values, row.odd) == (3, ROW, ())
    assert row.line == write_row(ROW)


def test_rows_of_the_version_before_have_no_checksum():
    row = read_row(json.dumps(ROW).encode())
    assert row is not None
    assert row.values == ROW


@pytest.mark.parametrize("key", list(ROW))
def test_a_row_that_lost_a_key_is_damaged(key):
    data = json.loads(write_row(ROW))
    del data[key]
    assert read_row(json.dumps(data).encode()) is None


def test_a_row_with_another_number_is_damaged():
    line = write_row(ROW)
    assert read_row(line.replace("0.25", "0.75").encode()) is None
    assert read_row(line.replace('"iteration": 3', '"iteration": 4').encode()) is None


def test_a_time_that_became_null_is_told():
    row = read_row(write_row(ROW).replace("4.5", "null").encode())
    assert row is not None
    assert row.odd == ("time/total",)


def test_two_runs_of_one_seed_have_equal_checksums():
    """What takes longer differs in its times alone."""
    one, two = (json.loads(write_row({**ROW, "time/total": seconds})) for seconds in (4.5, 9.0))
    assert one[CHECKSUM] == two[CHECKSUM]


def test_what_is_no_finite_number_has_no_value():
    row = read_row(write_row({"iteration": 1, "update/loss": math.nan}).encode())
    assert row is not None
    assert row.values == {"iteration": 1, "update/loss": None}


@given(st.data())
def test_a_byte_that_changed_is_noticed_unless_it_belongs_to_a_time(data):
    line = write_row(ROW).encode()
    place = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != line[place]))
    row = read_row(line[:place] + bytes([other]) + line[place + 1 :])
    if row is not None:
        times = {"time/total": row.values.get("time/total")}
        assert {**row.values, **times} == {**ROW, **times}

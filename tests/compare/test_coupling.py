"""Coupling over training in a comparison: pooled over seeds, paired by seed, drawn where it is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from compared import write_coupling
from rich.console import Console

from declutch.cli.compare import show_tables
from declutch.compare.coupling import coupling_curves, coupling_sheet, has_coupling, pool
from declutch.compare.grid import Arm, RunId
from declutch.compare.runs import read_comparison


@pytest.fixture
def grid(tmp_path: Path, evaluation, run_writer):
    """Two arms of two seeds; with GCD cosines across classes are lower by .1 and .3."""
    ids = []
    for gcd in (False, True):
        for seed in (0, 1):
            run = RunId(Arm("grpo", gcd), seed)
            played = evaluation({"L0": "10", "L1": "10", "L2": "10"})
            folder = run_writer(tmp_path / str(run), {0: played, 4: played}, [1.0] * 4)
            write_coupling(folder, 0, 0.8, 0.7)
            write_coupling(folder, 4, 0.8, 0.7 - gcd * (0.1 + 0.2 * seed), 0.9 - seed / 2, 9 - seed)
            ids.append(run)
    return tmp_path, ids


def cells(sheet, name):
    (row,) = [row for row in sheet.rows if row.cells[0].text == name]
    return {column.name: cell for column, cell in zip(sheet.columns, row.cells, strict=True)}


def test_seeds_are_pooled_with_an_interval_over_runs(grid) -> None:
    out, ids = grid
    sheet = coupling_sheet(read_comparison(out, ids))
    row = cells(sheet, "grpo+gcd, 4")
    assert row["pn"].value == pytest.approx(0.5)
    # Two values .6 and .4: their deviation .1414 over the root of 2, times t = 12.706.
    assert row["pn"].interval == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-4)
    assert row["within less across classes"].value == pytest.approx(0.3)
    assert (row["n"].text, row["seeds"].text) == ("8", "2")
    assert row["lowest split-half"].value == pytest.approx(0.4)
    assert row["lowest split-half"].tone == "warn"


def test_gcd_is_compared_seed_by_seed_after_the_start(grid) -> None:
    out, ids = grid
    sheet = coupling_sheet(read_comparison(out, ids))
    row = cells(sheet, "grpo+gcd − grpo, 4")
    assert row["pn"].value == pytest.approx(-0.2)
    assert row["pp"].value == pytest.approx(0)
    assert not any("− grpo, 0" in row.cells[0].text for row in sheet.rows)


def test_one_run_has_no_interval_and_none_no_number() -> None:
    assert pool([0.5]).interval is None
    assert math.isnan(pool([math.nan]).mean)
    assert pool([0.5, math.nan]).mean == 0.5


def test_the_page_and_the_files_have_it(grid) -> None:
    out, ids = grid
    show_tables(out, ids, None, Console(file=(out / "log").open("w")))
    page = (out / "compare.html").read_text()
    assert '<a href="#coupling">' in page
    assert 'id="figure-1"' in page
    assert len(coupling_curves(read_comparison(out, ids))) == 2
    assert "Coupling of gradients over training" in (out / "table.md").read_text()
    assert (out / "coupling.csv").read_text().count("\n") == 6


def test_runs_that_measured_nothing_have_no_section(tmp_path, evaluation, run_writer) -> None:
    run = RunId(Arm("grpo", False), 0)
    played = evaluation({"L0": "10", "L1": "10", "L2": "10"})
    run_writer(tmp_path / str(run), {0: played, 4: played}, [1.0])
    assert not has_coupling(read_comparison(tmp_path, [run]))
    show_tables(tmp_path, [run], None, Console(file=(tmp_path / "log").open("w")))
    assert "#coupling" not in (tmp_path / "compare.html").read_text()
    assert not (tmp_path / "coupling.csv").exists()

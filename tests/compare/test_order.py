"""The order of methods, and with it every sign in the tables, belongs to the folder."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from declutch.cli.compare import _choose_baseline, show_tables
from declutch.compare.grid import find_runs
from declutch.compare.order import ORDER_FILE, choose_baseline, extend_order, read_order
from declutch.ground.errors import UserError


def draw(folder: Path, **chosen: list) -> str:
    console = Console(file=io.StringIO(), width=160)
    options = {"methods": [], "gcd": [], "seeds": [], **chosen}
    show_tables(folder, find_runs(folder, **options), None, console)
    return console.file.getvalue()


def test_the_first_command_decides_and_later_ones_add(tmp_path: Path) -> None:
    assert read_order(tmp_path) == ()
    assert extend_order(tmp_path, ["grpo", "grpo", "gigpo"]) == ("grpo", "gigpo")
    assert extend_order(tmp_path, ["rloo", "gigpo", "grpo"]) == ("grpo", "gigpo", "rloo")
    assert read_order(tmp_path) == ("grpo", "gigpo", "rloo")


def test_showing_keeps_the_baseline_and_every_sign(grid_folder: Path) -> None:
    extend_order(grid_folder, ["b", "a"])
    shown = draw(grid_folder)
    written = (grid_folder / "table.md").read_text()
    assert "a − b" in written
    assert "b − a" not in written
    assert draw(grid_folder) == shown
    # A selection in another order changes no sign, and leaves the files as they are.
    some = draw(grid_folder, methods=["a", "b"], gcd=[False])
    assert "a − b" in some
    assert "b − a" not in some
    assert "A choice among the runs" in some
    assert (grid_folder / "table.md").read_text() == written


def test_another_baseline_is_chosen_by_name_and_stays(grid_folder: Path) -> None:
    extend_order(grid_folder, ["a", "b"])
    _choose_baseline(grid_folder, "b")
    assert read_order(grid_folder) == ("b", "a")
    draw(grid_folder)
    assert "a − b" in (grid_folder / "table.md").read_text()
    with pytest.raises(UserError, match=r"--baseline 'c' is no method of .*there are b, a"):
        _choose_baseline(grid_folder, "c")


def test_a_folder_without_an_order_takes_that_of_names(grid_folder: Path) -> None:
    assert [str(run) for run in find_runs(grid_folder, [], [False], [1])] == ["a_s1", "b_s1"]
    assert choose_baseline(grid_folder, "b", ["a", "b"]) == ("b", "a")
    assert [str(run) for run in find_runs(grid_folder, [], [False], [1])] == ["b_s1", "a_s1"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"methods": [1]}', "\xff"])
def test_a_damaged_order_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / ORDER_FILE).write_bytes(text.encode("latin1"))
    with pytest.raises(UserError, match=r"order\.json"):
        read_order(tmp_path)

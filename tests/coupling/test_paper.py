"""The list of the papers' tables and figures: complete, with its state, and made from runs."""

import json

import pytest
from evaluations import random_result

from declutch.coupling.paper import ITEMS, find_item, make_item, paper_sheet
from declutch.evaluation.summary import summarise
from declutch.ground.errors import UserError
from declutch.runs.folder import RunFolder

GC = {*(f"GC-T{n}" for n in range(1, 7)), *(f"GC-F{n}" for n in range(1, 11))}
RM = {*(f"RM-T{n}" for n in range(1, 5)), *(f"RM-F{n}" for n in (1, 2, 4, 5, 6, 7, 8, 9, 11))}
RM |= {"RM-F3a", "RM-F3b", "RM-F10a", "RM-F10b"}


def states(folder):
    return {row.cells[0].text: row.cells[-1].text for row in paper_sheet(folder).rows}


def test_every_table_and_figure_is_listed():
    assert {item.id for item in ITEMS} == GC | RM
    assert all(item.command or item.is_drawing for item in ITEMS)


def test_a_figure_without_runs_is_made_and_its_state_is_kept(tmp_path):
    assert states(tmp_path)["RM-F4"] == "not yet made; needs nothing"
    make_item(find_item("rm-f4"), [], tmp_path, "declutch paper RM-F4")
    folder = tmp_path / "RM-F4"
    names = {path.name for path in folder.iterdir()}
    assert {"RM-F4.md", "RM-F4.csv", "made.json", "theory_parabola.svg"} <= names
    assert "$ declutch paper RM-F4" in (folder / "theory_parabola.svg").read_text(encoding="utf-8")
    assert states(tmp_path)["RM-F4"] == "made from no run"


def test_what_is_missing_is_said(tmp_path):
    for name, message in (
        ("GC-F9", "is a drawing"),
        ("GC-T1", "declutch coupling gradients"),
        ("GC-T2", "GC-T2 needs runs of the methods"),
    ):
        with pytest.raises(UserError, match=message):
            make_item(find_item(name), [], tmp_path, "")
    with pytest.raises(UserError, match="without runs"):
        make_item(find_item("RM-F4"), [tmp_path], tmp_path, "")
    with pytest.raises(UserError, match="no run folder"):
        make_item(find_item("GC-T2"), [tmp_path / "none"], tmp_path, "")
    with pytest.raises(UserError, match="no table or figure 'GC-T9'; did you mean"):
        find_item("GC-T9")
    assert not list(tmp_path.iterdir())


def test_a_damaged_note_counts_as_not_made(tmp_path):
    (tmp_path / "RM-F4").mkdir()
    for text in ("{", "[]", json.dumps({"runs": 3})):
        (tmp_path / "RM-F4" / "made.json").write_text(text, encoding="utf-8")
        assert states(tmp_path)["RM-F4"].startswith("not yet made")


def test_success_is_made_from_runs(tmp_path):
    runs = []
    for seed in (0, 1):
        run = RunFolder(tmp_path / f"grpo_s{seed}")
        run.path.mkdir()
        (run.path / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
        for iteration in (0, 10):
            run.write_evaluation(f"iteration_{iteration:04d}", random_result(seed + iteration))
        runs.append(run.path)
    (sheet,) = make_item(find_item("GC-T2"), runs, tmp_path / "out", "declutch paper GC-T2")
    assert [row.cells[0].text for row in sheet.rows] == ["grpo_s0", "grpo_s1"]
    assert [column.name for column in sheet.columns][2:] == ["L0", "L1", "L2", "mean"]
    last = {row.level: row for row in summarise(random_result(10), by_kind=False)}
    assert sheet.rows[0].cells[2].value == pytest.approx(100 * last["L0"].success.mean)
    assert (tmp_path / "out" / "GC-T2" / "success.pdf").exists()
    assert states(tmp_path / "out")["GC-T2"] == f"made from {runs[0]}, {runs[1]}"
    flaws, _ = make_item(find_item("GC-F8"), runs, tmp_path / "out", "declutch paper GC-F8")
    assert len(flaws.rows) == 3 + 3 * 2 * 3


def measurement(folder, cosine, n, split=0.9, iteration=None):
    pairs = ("pp", "pn", "np", "nn")
    data = {
        "n": {"in_pos": n},
        "cosine": dict.fromkeys(pairs, cosine),
        "corrected": dict.fromkeys(pairs, cosine / 2),
        "split_half": dict.fromkeys(pairs, split),
        "interval": {pair: [0.1, 0.9] for pair in pairs},
        "null": {"contrast": {"p": 0.25}},
    }
    name = "gradients.json"
    if iteration is not None:
        data["iteration"] = iteration
        name = f"coupling/iteration_{iteration:04d}.json"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(data))
    return folder


def test_table_1_is_made_of_measurements_and_runs(tmp_path):
    run = tmp_path / "run"
    measurement(run, 0.3, 5, iteration=2)
    measurement(run, 0.4, 6, split=0.2, iteration=4)
    (run / "config.yaml").write_text("seed: 0\n")
    folders = [measurement(tmp_path / "maths", 0.8, 7), run]
    (sheet,) = make_item(find_item("GC-T1"), folders, tmp_path / "paper", "declutch paper GC-T1")
    names = [column.name for column in sheet.columns]
    assert names[1:5] == ["pp", "nn", "np", "pn"]
    first, second = ([cell.text for cell in row.cells] for row in sheet.rows)
    assert (first[0], first[1], first[5], first[-1]) == ("maths", "0.800", "0.400", "7")
    assert (second[0], second[1], second[-1]) == ("run", "0.400", "6")
    assert sheet.rows[1].cells[-2].tone == "warn"
    assert (tmp_path / "paper" / "GC-T1" / "cosines_by_environment.svg").exists()
    (sheet,) = make_item(find_item("GC-F4"), [run], tmp_path / "paper", "")
    assert [row.cells[0].text for row in sheet.rows] == ["2", "4"]


def test_folders_without_a_measurement_are_named(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0\n")
    for name in ("GC-T1", "GC-F6"):
        with pytest.raises(UserError, match="declutch coupling gradients"):
            make_item(find_item(name), [run], tmp_path, "")
    (run / "gradients.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read: a part of it is missing"):
        make_item(find_item("GC-T1"), [run], tmp_path, "")

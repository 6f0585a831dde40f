"""A folder goes on from where its parts agree; one whose parts do not is left as it is."""

import json
import os
import shutil
from pathlib import Path

import pytest

from declutch.ground.errors import UserError
from declutch.ground.files import write_atomically
from declutch.learner.checkpoint import TRAINER_FILE
from declutch.runs.folder import CONTROL, ROW_FILE, RunFolder, iteration_name
from declutch.runs.resume import find_resume_point, go_back, move_aside, read_missing, rewind
from declutch.runs.rows import read_row


def make_row(iteration: int, **more: float) -> dict[str, float]:
    """A row of metrics; iterations of even numbers were evaluated, and saved."""
    row = {"iteration": iteration, "x": 0.5, "suggestions/num_advice": 1.0, **more}
    if iteration % 2 == 0:
        row |= {"time/eval": 0.5, "suggestions/num_themes": 1.0, "time/save": 0.1}
    return row


def make_run(path: Path, rows: int, checkpoints: tuple[int, ...]) -> RunFolder:
    """A run folder with so many iterations, all that belongs to them, and these checkpoints."""
    run = RunFolder(path).create()
    write_atomically(run.evaluation_path(iteration_name(0)), "{}")
    for iteration in range(1, rows + 1):
        run.append_metrics(make_row(iteration))
        write_atomically(run.advice_path(iteration), "{}")
        if iteration % 2 == 0:
            for place in (run.episodes_path, run.suggestions_path):
                write_atomically(place(iteration), "{}")
            write_atomically(run.evaluation_path(iteration_name(iteration)), "{}")
    for iteration in checkpoints:
        folder = run.checkpoint_path(iteration)
        folder.mkdir(parents=True)
        (folder / TRAINER_FILE).write_text("")
        (folder / ROW_FILE).write_text(json.dumps(make_row(iteration)) + "\n")
    write_atomically(run.evaluation_path(CONTROL), "{}")
    return run


def iterations(path: Path) -> list[int]:
    return [json.loads(line)["iteration"] for line in path.read_text().splitlines()]


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refusal(run: RunFolder) -> str:
    """The message of a folder that is not resumed, and is as it was before."""
    before = everything(run.path)
    with pytest.raises(UserError) as error:
        find_resume_point(run)
    assert everything(run.path) == before
    assert "--restart" in str(error.value)
    return str(error.value)


def test_what_came_after_the_checkpoint_and_was_half_written_is_done_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 5, (2, 4))
    with run.metrics_path.open("a") as file:
        file.write('{"iteration": 6, "x"')
    write_atomically(run.advice_path(6), "{}")
    point = find_resume_point(run)
    assert (point.iteration, point.checkpoint) == (4, run.checkpoint_path(4))
    assert point.num_again == 1
    rewind(run, point)
    assert iterations(run.metrics_path) == [1, 2, 3, 4]
    assert run.evaluation_path(CONTROL).exists()
    assert [path.name for path in sorted(run.path.glob("advice/*"))] == [
        f"iteration_000{number}.jsonl" for number in (1, 2, 3, 4)
    ]
    before = everything(run.path)
    rewind(run, find_resume_point(run))
    assert everything(run.path) == before


def test_a_run_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 1, ())
    point = find_resume_point(run)
    assert (point.iteration, point.checkpoint, point.rows) == (0, None, ())
    rewind(run, point)
    assert run.metrics_path.read_text() == ""
    empty = RunFolder(tmp_path / "empty")
    rewind(empty, find_resume_point(empty))
    assert not empty.path.exists()


@pytest.mark.parametrize("rows", [3, 4])
def test_a_kill_between_checkpoint_and_metrics_loses_no_row(tmp_path: Path, rows: int) -> None:
    run = make_run(tmp_path / "run", 4, (2, 4))
    lines = run.metrics_path.read_text().splitlines(keepends=True)
    run.metrics_path.write_text("".join(lines[:rows]) + "\0" * 7)
    rewind(run, find_resume_point(run))
    rows = [read_row(line) for line in run.metrics_path.read_bytes().splitlines()]
    assert [row and row.values for row in rows] == [make_row(number) for number in (1, 2, 3, 4)]


def test_checkpoints_that_are_gone_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 5, (2, 4))
    (run.checkpoint_path(4) / TRAINER_FILE).unlink()
    text = refusal(run)
    assert "checkpoints/iteration-00004 is no whole checkpoint any more" in text
    assert f"`declutch train {run.path} --from 2`" in text
    shutil.rmtree(run.checkpoint_path(4))
    assert "checkpoints/iteration-00004 is missing" in refusal(run)
    shutil.rmtree(run.path / "checkpoints")
    text = refusal(run)
    assert "checkpoints/iteration-00004 is missing" in text
    assert "--from" not in text


def test_an_earlier_checkpoint_without_its_state_is_nobodys_business(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 4, (2, 4))
    (run.checkpoint_path(2) / TRAINER_FILE).unlink()
    assert find_resume_point(run).iteration == 4


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"rubbish", "line 2 of metrics.jsonl is damaged"),
        (b"\xff\xfe", "line 2 of metrics.jsonl is damaged"),
        (b"[" * 30_000, "line 2 of metrics.jsonl is damaged"),
        (b'{"iteration": true}', "line 2 of metrics.jsonl is damaged"),
        (b'{"iteration": 3}', "several rows of one iteration"),
        (None, "the row of iteration 2 is missing in metrics.jsonl"),
    ],
)
def test_a_bad_line_in_the_middle_is_named(tmp_path: Path, line: bytes | None, words: str) -> None:
    run = make_run(tmp_path / "run", 5, (4,))
    lines = run.metrics_path.read_bytes().splitlines()
    lines[1:2] = [] if line is None else [line]
    run.metrics_path.write_bytes(b"\n".join([*lines, b""]))
    assert words in refusal(run)


def test_metrics_that_are_gone_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 6, (6,))
    run.metrics_path.unlink()
    text = refusal(run)
    # The last row is in the checkpoint.
    assert "the rows of iterations 1–5 are missing in metrics.jsonl" in text
    shutil.rmtree(run.path / "checkpoints")
    assert "there is no row of its iteration" not in text
    assert "has no row of its iteration" in refusal(run)


@pytest.mark.parametrize(
    "name",
    [
        "evals/iteration_0000.json",
        "evals/iteration_0002.json",
        "advice/iteration_0003.jsonl",
        "suggestions/iteration_0004.json",
    ],
)
def test_files_that_are_gone_are_named(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", 4, (2, 4))
    (run.path / name).unlink()
    assert f"{name} is missing" in refusal(run)


def test_the_evaluation_of_the_checkpoint_can_be_made_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 4, (2, 4))
    run.evaluation_path(iteration_name(4)).unlink()
    assert find_resume_point(run).iteration == 4


def test_going_back_moves_what_came_later_aside(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 5, (2, 4))
    lines = run.metrics_path.read_text().splitlines(keepends=True)
    run.metrics_path.write_text("".join([lines[0], "rubbish\n", *lines[1:]]))
    before = everything(run.path)
    aside = go_back(run, 2)
    assert aside is not None
    assert aside.parent == run.path / "aside"
    assert iterations(run.metrics_path) == [1, 2]
    assert find_resume_point(run).iteration == 2
    moved = everything(aside)
    assert moved["metrics.jsonl"] == before["metrics.jsonl"]
    kept = everything(run.path)
    for name, content in before.items():
        if name != "metrics.jsonl":
            assert kept.get(name) == content or moved.get(name) == content
    assert go_back(run, 2) is None


def test_going_on_without_what_is_missing_is_remembered(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 4, (4,))
    lines = run.metrics_path.read_text().splitlines(keepends=True)
    run.metrics_path.write_text("".join([lines[0], *lines[2:]]))
    run.evaluation_path(iteration_name(0)).unlink()
    assert "the row of iteration 2 is missing" in refusal(run)
    go_back(run, 4)
    assert find_resume_point(run).iteration == 4
    assert read_missing(run).rows == (2,)
    assert read_missing(run).files == ("evals/iteration_0000.json",)
    run.advice_path(3).unlink()
    text = refusal(run)
    assert "advice/iteration_0003.jsonl is missing" in text
    assert "iteration 2" not in text
    run.missing_path.write_text("{")
    with pytest.raises(UserError, match=r"missing\.json cannot be read"):
        find_resume_point(run)


def test_only_checkpoints_that_are_there_can_be_gone_back_to(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 4, (2, 4))
    before = everything(run.path)
    with pytest.raises(UserError, match="there are 0, 2, 4"):
        go_back(run, 3)
    assert everything(run.path) == before
    go_back(run, 0)
    assert find_resume_point(run).iteration == 0
    assert run.metrics_path.read_text() == ""
    assert len(list(run.aside_path.glob("*/checkpoints/*"))) == 2


def test_leftovers_are_removed_and_strangers_stay(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 4, (2, 4))
    before = everything(run.path)
    (run.path / "checkpoints" / ".iteration-00006.partial").mkdir()
    (run.path / "checkpoints" / ".iteration-00001.deleted").mkdir()
    (run.path / "evals" / f".{'0' * 32}.tmp").write_text("x")
    os.utime(run.path / "evals" / f".{'0' * 32}.tmp", (1.0, 1.0))
    (run.path / "notes").mkdir()
    (run.path / "notes" / "mine.txt").write_text("x")
    (run.path / "checkpoints" / ".mine.partial").mkdir()
    rewind(run, find_resume_point(run))
    assert everything(run.path) == before | {"notes/mine.txt": b"x"}
    names = sorted(path.name for path in (run.path / "checkpoints").iterdir())
    assert names == [".mine.partial", "iteration-00002", "iteration-00004"]


def test_a_whole_run_is_moved_beside_itself(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 4, (2, 4))
    before = everything(run.path)
    places = [move_aside(run)]
    run.create()
    places.append(move_aside(run))
    assert len(set(places)) == 2
    assert not run.path.exists()
    assert everything(places[0]) == before
    assert all(place.parent == tmp_path and place.name.startswith("run-") for place in places)

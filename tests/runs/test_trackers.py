"""Trackers get what metrics.jsonl has, and whatever they do, the run goes on without waiting."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from declutch.config.files import parse_config
from declutch.config.run import Config
from declutch.ground.errors import UserError
from declutch.runs import trackers as module
from declutch.runs.folder import RunFolder
from declutch.runs.rows import read_row, write_row
from declutch.runs.trackers import Trackers, check_trackers

OWN = "own_trackers"


def config_of(*names: str, timeout: float = 30.0) -> Config:
    settings = {
        "train": {"report_to": [f"{OWN}:{name}" if name[0].isupper() else name for name in names]},
        "trackers": {"timeout_seconds": timeout},
    }
    return parse_config(settings, "test")


def metrics(iteration: int, **more: float) -> dict[str, float]:
    return {"iteration": iteration, "agent/success": iteration / 8, "update/loss": -0.5, **more}


def row(iteration: int):
    found = read_row(write_row(metrics(iteration)).encode())
    assert found is not None
    return found


def kept(run: RunFolder, name: str = "Kept") -> list[dict]:
    path = run.trackers_path / f"{OWN}.{name}" / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "my-run").create()


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_resumed_run_gives_a_tracker_what_it_lacks_and_what_comes_again(
    run: RunFolder, said: list[str]
) -> None:
    config = config_of("Kept")
    trackers = Trackers.open(config, run, [], said.append)
    for iteration in (1, 2, 3):
        trackers.log(metrics(iteration))
    trackers.close(is_done=False)
    # It had three rows, of which the run on the disk has two and one that was never sent.
    trackers = Trackers.open(config, run, [row(1), row(2)], said.append)
    trackers.log(metrics(3, **{"time/iteration": 2.0}))
    trackers.close(is_done=True)
    records = kept(run)
    starts = [record["start"] for record in records if "start" in record]
    assert starts == [
        {"id": None, "name": "my-run", "first": 1},
        {"id": "first-id", "name": "my-run", "first": 3},
    ]
    rows = [(r["iteration"], r["row"]) for r in records if "row" in r]
    expected = [(n, {"agent/success": n / 8, "update/loss": -0.5}) for n in (1, 2, 3)]
    again = (3, {"agent/success": 3 / 8, "update/loss": -0.5, "time/iteration": 2.0})
    assert rows == [*expected, again]
    assert [r["is_done"] for r in records if "is_done" in r] == [False, True]
    meanings = [r["meanings"] for r in records if "row" in r]
    assert meanings[0]["agent/success"] == "Share of the episodes that were won."
    assert meanings[1] == {}
    assert said == []


def test_a_tracker_that_is_asked_for_later_gets_the_whole_curve(run: RunFolder) -> None:
    trackers = Trackers.open(config_of("Kept"), run, [row(1), row(2)], print)
    trackers.close(is_done=True)
    assert [r["iteration"] for r in kept(run) if "row" in r] == [1, 2]


def test_numbers_that_are_none_are_left_out(run: RunFolder) -> None:
    trackers = Trackers.open(config_of("Kept"), run, [], print)
    trackers.log(metrics(1, **{"update/kl": float("nan")}))
    trackers.close(is_done=True)
    (record,) = (r for r in kept(run) if "row" in r)
    assert set(record["row"]) == {"agent/success", "update/loss"}


def test_each_way_of_failing_is_said_once_and_the_others_go_on(
    run: RunFolder, said: list[str]
) -> None:
    names = ("Kept", "Raises", "Dies", "Missing")
    trackers = Trackers.open(config_of(*names), run, [], said.append)
    for iteration in (1, 2, 3, 4):
        trackers.log(metrics(iteration))
    trackers.close(is_done=True)
    assert [r["iteration"] for r in kept(run) if "row" in r] == [1, 2, 3, 4]
    told = {line.split()[1].partition(":")[2]: line for line in said}
    assert len(said) == len(told) == 3
    assert "No space left on device" in told["Raises"]
    assert "status 7" in told["Dies"]
    assert "has no 'Missing'" in told["Missing"]
    assert all("goes on without it" in line for line in said)
    log = run.trackers_path / f"{OWN}.Raises.log"
    assert "something on standard output" in log.read_text()
    assert str(log) in told["Raises"]


def test_one_that_failed_between_two_rows_ends_nothing(run: RunFolder, said: list[str]) -> None:
    """What it said is read when the next row is to be sent, and its pipes are closed by then."""
    trackers = Trackers.open(config_of("Missing"), run, [], said.append)
    (process,) = trackers.processes
    process.child.wait(timeout=60)
    trackers.log(metrics(1))
    trackers.log(metrics(2))
    trackers.close(is_done=True)
    (line,) = said
    assert "has no 'Missing'" in line


@pytest.mark.parametrize(
    ("name", "reason"),
    [("FullDisk", "No space left on device"), ("FullTensorBoard", "File too large")],
)
def test_a_disk_that_is_full_is_said_once_and_the_others_go_on(
    name: str, reason: str, run: RunFolder, said: list[str]
) -> None:
    """A device without space, and a limit of the operating system for a real package's files."""
    if name == "FullTensorBoard":
        pytest.importorskip("tensorboard")
    trackers = Trackers.open(config_of("Kept", name), run, [], said.append)
    for iteration in range(1, 9):
        trackers.log(metrics(iteration))
    trackers.close(is_done=True)
    assert [r["iteration"] for r in kept(run) if "row" in r] == list(range(1, 9))
    (line,) = said
    assert reason in line
    assert "goes on without it" in line


def test_one_that_hangs_is_never_waited_for_and_ended_after_its_time(
    run: RunFolder, said: list[str]
) -> None:
    trackers = Trackers.open(config_of("Hangs", timeout=3.0), run, [], said.append)
    (process,) = trackers.processes
    began = time.monotonic()
    while not said and time.monotonic() - began < 60:
        # More than a pipe holds.
        trackers.log(metrics(1, **{f"time/{number}": 0.5 for number in range(300)}))
        time.sleep(0.05)
    (line,) = said
    assert "did not answer for 3 s" in line
    assert process.child.poll() is not None
    trackers.close(is_done=True)
    assert len(said) == 1


def test_one_that_never_finishes_ends_all_the_same(run: RunFolder, said: list[str]) -> None:
    trackers = Trackers.open(config_of("HangsAtTheEnd", timeout=2.0), run, [], said.append)
    (process,) = trackers.processes
    while process.last < 1:
        trackers.log(metrics(1)) if not process.waiting else process.pump()
    trackers.close(is_done=True)
    assert len(said) == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.child.pid, 0)


def test_no_process_to_be_had_is_said_and_ends_nothing(
    run: RunFolder, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(module.subprocess, "Popen", refuse)
    trackers = Trackers.open(config_of("Kept"), run, [], said.append)
    trackers.log(metrics(1))
    trackers.close(is_done=True)
    assert len(said) == 1
    assert "Cannot allocate memory" in said[0]


def test_damaged_notes_of_earlier_processes_are_as_none(run: RunFolder) -> None:
    run.trackers_path.mkdir()
    (run.trackers_path / "state.json").write_text("{]")
    Trackers.open(config_of("Kept"), run, [row(1)], print).close(is_done=True)
    assert [r["iteration"] for r in kept(run) if "row" in r] == [1]


def test_a_package_that_is_not_installed_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"names wandb, whose package is not installed: .*install"):
        check_trackers(["wandb"])
    check_trackers(["own_trackers:Kept"])


@pytest.mark.parametrize(
    ("names", "message"),
    [("wand", "did you mean 'wandb'"), (["wandb", "wandb"], "named twice")],
)
def test_names_are_checked_with_the_settings(names: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config({"train": {"report_to": names}}, "test")


def test_one_name_needs_no_list() -> None:
    config = parse_config({"train": {"report_to": "wandb"}}, "test")
    assert config.train.report_to == ("wandb",)


def test_tensorboard_reads_the_numbers_of_metrics_jsonl(run: RunFolder, said: list[str]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = config_of("tensorboard")
    trackers = Trackers.open(config, run, [], said.append)
    for iteration in (1, 2, 3):
        trackers.log(metrics(iteration, **{"time/iteration": 99.0}))
    trackers.close(is_done=False)
    trackers = Trackers.open(config, run, [row(1), row(2)], said.append)
    for iteration in (3, 4):
        trackers.log(metrics(iteration, **{"time/iteration": 1.0}))
    trackers.close(is_done=True)
    events = EventAccumulator(str(run.trackers_path / "tensorboard")).Reload()
    points = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    shown = {tag: [(point.step, point.value) for point in found] for tag, found in points.items()}
    # What came again has replaced what was there.
    assert shown == {
        "agent/success": [(n, n / 8) for n in (1, 2, 3, 4)],
        "update/loss": [(n, -0.5) for n in (1, 2, 3, 4)],
        "time/iteration": [(1, 99.0), (2, 99.0), (3, 1.0), (4, 1.0)],
    }
    assert said == []

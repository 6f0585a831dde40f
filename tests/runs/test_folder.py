"""The run folder survives crashes and full disks."""

import json
from pathlib import Path

import pytest

from declutch.config.files import load_config
from declutch.errors import UserError
from declutch.files import write_atomically
from declutch.runs.folder import RunFolder, claim


def write_metrics(run: RunFolder, count: int) -> None:
    for iteration in range(1, count + 1):
        run.append_metrics({"iteration": iteration, "x": 0.5})


def iterations(run: RunFolder) -> list[int]:
    return [json.loads(line)["iteration"] for line in run.metrics_path.read_text().splitlines()]


def test_rewind_cuts_what_came_after_and_what_was_half_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    write_metrics(run, 5)
    with run.metrics_path.open("a") as file:
        file.write('{"iteration": 6, "x"')
    for folder, ending in (("evals", "json"), ("episodes", "jsonl")):
        for iteration in (2, 4):
            write_atomically(run.path / folder / f"iteration_{iteration:04d}.{ending}", "{}")
    write_atomically(run.path / "evals" / "control.json", "{}")
    run.rewind(3)
    assert iterations(run) == [1, 2, 3]
    left = sorted(str(p.relative_to(run.path)) for p in run.path.glob("e*/*"))
    assert left == [
        "episodes/iteration_0002.jsonl",
        "evals/control.json",
        "evals/iteration_0002.json",
    ]
    run.append_metrics({"iteration": 4})
    assert iterations(run) == [1, 2, 3, 4]


def test_rewinding_nothing_is_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.rewind(0)
    assert not run.metrics_path.exists()


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert not run.has_started()
    with pytest.raises(UserError, match="no run folder"):
        run.read_config()
    config = load_config(None, ["seed=4"])
    run.write_config(config)
    assert run.read_config() == config


def test_a_claim_is_for_one_configuration(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    claim(path, load_config(None, ["seed=4"]))
    written = path.read_bytes()
    claim(path, load_config(None, ["seed=4", "threads=2"]), ignored=("threads",))
    assert path.read_bytes() == written
    with pytest.raises(UserError, match=r"made\.yaml says threads=null, but threads=2"):
        claim(path, load_config(None, ["seed=4", "threads=2"]))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "facts.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("declutch.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["facts.json"]
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="resume"):
        run.append_metrics({"iteration": 1})

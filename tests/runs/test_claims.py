"""A folder is bound to the settings that it was started with, wherever others are asked for."""

from pathlib import Path

import pytest

from declutch.config.files import change_config, dump_config, load_config
from declutch.ground.errors import UserError
from declutch.records import TaskId
from declutch.runs.claims import (
    bind_reference,
    bind_run,
    bind_tasks,
    bound_settings,
    claim,
    read_claim,
)
from declutch.runs.folder import RunFolder


def begun(path: Path) -> RunFolder:
    """A run folder with something on record."""
    run = RunFolder(path)
    run.append_metrics({"iteration": 1})
    return run


def test_a_claim_is_for_one_configuration(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    claim(path, load_config(None, ["seed=4"]))
    written = path.read_bytes()
    claim(path, load_config(None, ["seed=4", "threads=2"]), ignored=("threads",))
    assert path.read_bytes() == written
    with pytest.raises(UserError, match=r"made\.yaml says threads=null, but threads=2"):
        claim(path, load_config(None, ["seed=4", "threads=2"]))


def test_a_claim_that_was_edited_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    claim(path, load_config(None, ["seed=4"]))
    path.write_text(path.read_text().replace("seed: 4", "seed: 5"))
    with pytest.raises(UserError, match=r"made\.yaml was changed since it was written"):
        claim(path, load_config(None, ["seed=5"]))


def test_a_claim_of_a_former_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    path.write_text(dump_config(load_config(None, ["seed=4"])))
    assert read_claim(path).seed == 4


def test_a_run_is_bound_once_something_is_on_record(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    bind_run(run, load_config(None, ["seed=4"]))
    bind_run(run, load_config(None, ["seed=5"]))
    run.append_metrics({"iteration": 1})
    assert bound_settings(run).seed == 5
    with pytest.raises(UserError, match="started with seed=5, but seed=6 is asked for"):
        bind_run(run, load_config(None, ["seed=6"]))
    assert bound_settings(run).seed == 5


def test_a_run_of_a_former_version_is_bound_by_its_settings(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    run.write_config(load_config(None, ["seed=4"]))
    with pytest.raises(UserError, match="started with seed=4"):
        bind_run(run, load_config(None, ["seed=5"]))
    bind_run(run, load_config(None, ["seed=4"]))
    run.write_config(load_config(None, ["seed=5"]))
    with pytest.raises(UserError, match="started with seed=4"):
        bind_run(run, run.read_config())


def test_what_changes_no_number_may_change_and_iterations_may_grow(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    config = load_config(None, ["train.iterations=3"])
    bind_run(run, config)
    run.append_metrics({"iteration": 1})
    more = change_config(config, threads=2, train={"iterations": 5, "save_every": 1})
    more = change_config(more, endpoint={"base_url": "http://elsewhere/v1"})
    bind_run(run, more)
    assert bound_settings(run) == more
    for fewer in (4, 3):
        with pytest.raises(UserError, match=rf"iterations=5, but train\.iterations={fewer}"):
            bind_run(run, change_config(more, train={"iterations": fewer}))


@pytest.mark.parametrize("keep", [0, 5])
def test_settings_on_record_without_their_checksum_are_refused(tmp_path: Path, keep: int) -> None:
    run = RunFolder(tmp_path / "run")
    bind_run(run, load_config(None, []))
    run.append_metrics({"iteration": 1})
    lines = run.started_path.read_text().splitlines(keepends=True)
    run.started_path.write_text("".join(lines[:keep]))
    with pytest.raises(UserError, match=r"started\.yaml does not end with its checksum.*--restart"):
        bind_run(run, load_config(None, []))


def test_the_weights_that_divergence_is_measured_from_stay(tmp_path: Path) -> None:
    run, model = RunFolder(tmp_path / "run").create(), tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    bind_reference(run, str(model), is_start=True)
    (model / "notes.txt").write_text("x")
    bind_reference(run, str(model), is_start=False)
    (model / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(UserError, match=r"not those that .* was started from"):
        bind_reference(run, str(model), is_start=False)
    bind_reference(run, str(model), is_start=True)
    bind_reference(run, str(model), is_start=False)
    # A run of a former version does not say which they were, nor does the hub.
    bind_reference(RunFolder(tmp_path / "other"), str(model), is_start=False)
    bind_reference(run, "hub/name", is_start=False)


def test_the_tasks_stay(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").create()
    tasks = [TaskId("toy", "train", index, f"game {index}", "find") for index in range(3)]
    bind_tasks(run, {"train": tasks, "L0": tasks[:1]}, is_start=True)
    bind_tasks(run, {"train": tasks, "L0": tasks[:1]}, is_start=False)
    with pytest.raises(UserError, match=r"with 3 tasks of train, and there are 2 now.*--restart"):
        bind_tasks(run, {"train": tasks[1:], "L0": tasks[:1]}, is_start=False)
    with pytest.raises(UserError, match="with 1 tasks of L0, and there are 1 now, or others"):
        bind_tasks(run, {"train": tasks, "L0": tasks[1:2]}, is_start=False)
    run.tasks_path.write_text('{"train": 3}')
    with pytest.raises(UserError, match=r"tasks\.json is damaged"):
        bind_tasks(run, {"train": tasks}, is_start=False)
    bind_tasks(run, {"train": tasks[1:]}, is_start=True)
    bind_tasks(run, {"train": tasks[1:]}, is_start=False)
    # A run of a former version does not say which they were.
    bind_tasks(RunFolder(tmp_path / "other"), {"train": tasks}, is_start=False)


def test_a_run_may_go_on_on_other_machines(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    bind_run(run, load_config(None, ["cluster.nodes=1", "cluster.gpus_per_node=8"]))
    moved = ["cluster.nodes=2", "cluster.gpus_per_node=4", "cluster.players=3"]
    bind_run(run, load_config(None, [*moved, "cluster.address=auto", "cluster.offload=true"]))
    with pytest.raises(UserError, match=r"cluster\.max_model_tokens=512 is asked for"):
        bind_run(run, load_config(None, ["cluster.max_model_tokens=512"]))

"""The run folder survives crashes and full disks."""

import ast
import shutil
from pathlib import Path

import pytest

import declutch
from declutch.config.files import load_config
from declutch.ground.errors import UserError
from declutch.ground.files import write_atomically
from declutch.learner.checkpoint import TRAINER_FILE
from declutch.runs.folder import CONTROL, RunFolder, iteration_name, iteration_of


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert not run.has_started()
    with pytest.raises(UserError, match="no run folder"):
        run.read_config()
    config = load_config(None, ["seed=4"])
    run.write_config(config)
    assert run.read_config() == config


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "facts.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("declutch.ground.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["facts.json"]
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="resume"):
        run.append_metrics({"iteration": 1})


def test_the_layout_is_that_of_the_runs_there_are(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    paths = [
        *(
            run.config_path,
            run.started_path,
            run.missing_path,
            run.reference_path,
            run.cold_start_path,
            run.metrics_path,
            run.report_path,
        ),
        *(run.evaluation_path(CONTROL), run.evaluation_path(iteration_name(10))),
        *(run.episodes_path(10), run.advice_path(10), run.suggestions_path(10)),
        run.checkpoint_path(10),
    ]
    assert [run.relative(path) for path in paths] == [
        "config.yaml",
        "started.yaml",
        "missing.json",
        "reference.sha256",
        "cold_start.json",
        "metrics.jsonl",
        "report.html",
        "evals/control.json",
        "evals/iteration_0010.json",
        "episodes/iteration_0010.jsonl",
        "advice/iteration_0010.jsonl",
        "suggestions/iteration_0010.json",
        "checkpoints/iteration-00010",
    ]
    assert iteration_of(iteration_name(10)) == 10
    assert iteration_of(CONTROL) is None


def test_looking_makes_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert not run.has_started()
    assert not run.has_begun()
    assert run.last_checkpoint() is None
    assert run.iterations_saved() == 0
    assert run.evaluation_paths() == run.episode_paths() == run.fact_paths() == ()
    assert not run.path.exists()
    assert run.create().path.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the run folder"):
        RunFolder(tmp_path / "file" / "run").create()


def test_newest_and_pruned_checkpoints(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.last_checkpoint() is None
    for iteration in (2, 10, 9):
        run.checkpoint_path(iteration).mkdir(parents=True)
        (run.checkpoint_path(iteration) / TRAINER_FILE).write_text("")
    folder = tmp_path / "checkpoints"
    (folder / "iteration-00099").mkdir()  # not one of ours: nothing in it
    shutil.copytree(run.checkpoint_path(10), folder / "iteration-00050-copy")
    assert run.last_checkpoint() == run.checkpoint_path(10)
    assert run.iterations_saved() == 10
    run.prune_checkpoints(2)
    assert not run.checkpoint_path(2).exists()
    assert run.checkpoint_path(9).is_dir()
    assert run.checkpoint_path(10).is_dir()
    assert not list(folder.glob(".*"))


def test_no_other_module_knows_where_things_of_a_run_lie() -> None:
    """A name of something in a run folder stands as text in `runs/folder.py` and nowhere else."""
    names = {"metrics.jsonl", "config.yaml", "report.html", "evals", "episodes", "advice"}
    names |= {"suggestions", "checkpoints", "control", "demonstrations.json"}
    root = Path(declutch.__file__).parent
    found = {}
    for path in root.rglob("*.py"):
        used = names & paths_spelled(path)
        if used and path != root / "runs" / "folder.py":
            found[path.relative_to(root).as_posix()] = used
    assert found == {}


def paths_spelled(path: Path) -> set[str]:
    """Parts of paths that are joined by `/` or globbed for in a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        texts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            texts = [node.left, node.right]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            texts = list(node.args) if node.func.attr in ("glob", "rglob", "joinpath") else []
        for text in texts:
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found.update(text.value.split("/"))
    return found

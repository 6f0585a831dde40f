"""Runs in processes: killed ones are reported and go on, an interrupt leaves nobody behind."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import psutil
import pytest
from dying import kill_and_wait, parent_of, wait_for
from forking import Forked, start_forked
from rich.console import Console

from declutch.cli.compare import show_failures, show_plan, train_grid
from declutch.cli.main import main
from declutch.compare import launch
from declutch.compare.grid import PlannedRun, make_grid, plan_grid
from declutch.compare.launch import Failure, train_runs
from declutch.compare.progress import GridWatcher
from declutch.envs.registry import make_suite
from declutch.ground.errors import UserError
from declutch.report.live import TrainWatcher
from declutch.runs.folder import RunFolder
from declutch.runs.lock import hold_folder
from declutch.runs.read import Metrics
from declutch.train.loop import train


class Watcher:
    """Keeps what happens, and lets a test act on it."""

    def __init__(self, act: Callable[[str, str], None] = lambda event, name: None) -> None:
        self.events: list[tuple[str, str]] = []
        self.problems: dict[str, str] = {}
        self._act = act

    def start(self, name: str, iterations: int) -> None:
        self._tell("start", name)

    def update(self, name: str, rows: Sequence[Metrics]) -> None:
        if rows:
            self._tell("update", name)

    def finish(self, name: str, problem: str) -> None:
        self.problems[name] = problem
        self._tell("finish", name)

    def _tell(self, event: str, name: str) -> None:
        self.events.append((event, name))
        self._act(event, name)

    def most_at_once(self) -> int:
        at_work = most = 0
        for event, _ in self.events:
            at_work += {"start": 1, "update": 0, "finish": -1}[event]
            most = max(most, at_work)
        return most


def hold(folder: Path) -> AbstractContextManager[int]:
    """Hold a comparison's folder as the command does."""
    return hold_folder(folder, "declutch compare", is_inherited=True)


def plan(*methods: str, seeds: Sequence[int] = (0,)) -> tuple[PlannedRun, ...]:
    return plan_grid({}, methods, [False], seeds, [], "model")


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let children run a line of Python instead of a training; its argument is the run's name."""
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(launch, "is_complete", lambda run, folder: True)

    def replace(code: str) -> None:
        def command(config, folder: Path) -> list[str]:
            return [sys.executable, "-c", f"import sys, time; {code}", folder.name]

        monkeypatch.setattr(launch, "training_command", command)

    return replace


def children() -> list[psutil.Process]:
    """The processes that runs are trained in; others of this worker are other tests'."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if each not in BYSTANDERS]


@pytest.fixture(autouse=True)
def _note_bystanders() -> None:
    BYSTANDERS[:] = psutil.Process().children(recursive=True)


BYSTANDERS: list[psutil.Process] = []


def test_a_run_that_fails_stops_no_other(tmp_path: Path, instead: Callable[[str], None]) -> None:
    instead("print('two'); 'rloo' in sys.argv[1] and sys.exit(f'no {sys.argv[1]}\\n')")
    watcher = Watcher()
    with hold(tmp_path) as lock:
        failures = train_runs(plan("grpo", "rloo", "gigpo"), tmp_path, 2, watcher, lock)
    assert failures == (Failure("rloo_s0", "no rloo_s0"),)
    assert watcher.problems == {"grpo_s0": "", "rloo_s0": "no rloo_s0", "gigpo_s0": ""}
    assert watcher.most_at_once() == 2
    assert (tmp_path / "logs" / "grpo_s0.log").read_text() == "two\n"
    console = Console(file=io.StringIO(), width=200)
    show_failures(failures, tmp_path, console)
    assert "rloo_s0 failed: no rloo_s0" in console.file.getvalue()
    assert "rloo_s0.log" in console.file.getvalue()


def test_workers_bound_what_runs_at_once(tmp_path: Path, instead: Callable[[str], None]) -> None:
    instead("pass")
    watcher = Watcher()
    with hold(tmp_path) as lock:
        assert train_runs(plan("grpo", seeds=range(3)), tmp_path, 1, watcher, lock) == ()
    assert watcher.most_at_once() == 1
    assert len(watcher.problems) == 3


def test_a_signal_ends_all_children(tmp_path: Path, instead: Callable[[str], None]) -> None:
    instead("time.sleep(60)")
    started = []

    def act(event: str, name: str) -> None:
        started.append(name)
        if len(started) == 2:
            assert len(children()) == 2
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), hold(tmp_path) as lock:
        train_runs(plan("grpo", seeds=range(3)), tmp_path, 2, Watcher(act), lock)
    assert children() == []
    assert signal.getsignal(signal.SIGTERM) is before


KILLED = """
import sys, time
from pathlib import Path
from declutch.ground.children import followed_command
from declutch.compare import launch
from declutch.compare.grid import plan_grid
from declutch.runs.lock import hold_folder
class Silent:
    def start(self, name, iterations): ...
    def update(self, name, rows): ...
    def finish(self, name, problem): ...
folder = Path(sys.argv[1])
launch.training_command = lambda config, run: followed_command("sleeper", [str(folder)])
runs = plan_grid({}, ["grpo"], [False], [0, 1], [], "model")
with hold_folder(folder, "declutch compare", is_inherited=True) as lock:
    launch.train_runs(runs, folder, 2, Silent(), lock)
"""

SLEEPER = """
import os, sys, time
from pathlib import Path
(Path(sys.argv[1]) / f"{os.getpid()}.pid").touch()
time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_runs_end_when_the_comparison_is_killed(tmp_path: Path, signum: int) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    parent = parent_of(KILLED, tmp_path, is_forked=True)
    try:
        wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        kill_and_wait(parent, signum, [int(path.stem) for path in tmp_path.glob("*.pid")])
    finally:
        parent.kill()
        parent.wait()


def test_a_run_is_trained_by_a_command_that_follows_its_parent(tmp_path: Path) -> None:
    (run,) = plan("grpo")
    config = run.config.model_copy(update={"processes": 3})
    command = launch.training_command(config, tmp_path / "grpo_s0")
    assert command[:3] == [sys.executable, "-m", "declutch.ground.children"]
    assert command[3:5] == ["declutch.cli.main", "train"]
    assert command[5:7] == [str(tmp_path / "grpo_s0"), "--resume"]
    assert {f"threads={config.threads}", "processes=3"} < set(command)


def test_a_child_left_behind_still_holds_the_folder(tmp_path: Path) -> None:
    with hold(tmp_path) as lock:
        orphan = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=(lock,)
        )
    try:
        with pytest.raises(UserError, match=f"process {os.getpid()} on"), hold(tmp_path):
            pass
    finally:
        orphan.kill()
        orphan.wait()
    with hold(tmp_path):
        pass


def test_the_view_says_what_happens() -> None:
    rows: list[Metrics] = [
        {"iteration": 1, "agent/success": 0.25},
        {"iteration": 2, "agent/success": 0.5, "eval/L0/success": 0.75, "eval/L2/success": None},
    ]
    for is_terminal in (False, True):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=is_terminal, width=160, color_system=None)
        with GridWatcher(4, 1, console) as watcher:
            watcher.start("grpo_s0", 3)
            watcher.start("grpo_s1", 3)
            watcher.update("grpo_s0", [])
            watcher.update("grpo_s0", rows)
            watcher.update("grpo_s0", rows)
            watcher.finish("grpo_s0", "")
            watcher.finish("grpo_s1", "no [games]")
        text = stream.getvalue()
        assert "grpo_s0: done, 2 of 4 runs" in text
        assert "grpo_s1: failed: no [games]" in text
        if not is_terminal:
            assert text.count("evaluation at iteration 2: L0 75.0% L2 –") == 1
            assert "\x1b" not in text


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Settings small enough for a test."""
    return {
        "env": {
            "suite": "households",
            "cache_dir": str(tmp_path_factory.mktemp("cache")),
            "max_steps": 6,
            "households": {"train": 12, "valid_seen": 6, "valid_unseen": 6},
        },
        "tiny": {
            "hidden_size": 32,
            "num_layers": 2,
            "intermediate_size": 64,
            "vocabulary_episodes": 12,
        },
        "sft": {"num_episodes": 12, "epochs": 1, "lr": 5e-3, "judge_samples": 8},
        "train": {
            "iterations": 4,
            "tasks_per_iteration": 2,
            "group_size": 3,
            "save_every": 1,
            "save_episodes": 1,
        },
        "loss": {"kl_coef": 0.0},
        "optimizer": {"lr": 1e-3, "mini_batch": None, "num_mini_batches": 2},
        "gcd": {"num_questions": 2, "num_judgments": 2},
        "eval": {"every": 2, "max_games": 1, "seeds": [0]},
    }


def metrics_without_times(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def fork_runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Forked]:
    """Let runs be trained by the same command in forked processes; these, by the runs' names."""
    started: dict[str, Forked] = {}

    def start(command: list[str], stdout: TextIO, **_: object) -> Forked:
        words = command[command.index("declutch.cli.main") :]
        process = start_forked(words[0], words[1:], stdout)
        started[Path(words[2]).name] = process
        return process

    forked = SimpleNamespace(**{**vars(subprocess), "Popen": start})
    monkeypatch.setattr(launch, "subprocess", forked)
    return started


def test_a_grid_from_nothing_killed_and_continued(
    base: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.02)
    runs = fork_runs(monkeypatch)
    out = tmp_path / "out"

    killed: list[str] = []

    def kill_once(event: str, name: str) -> None:
        if (event, name) == ("update", "grpo_s0") and not killed:
            runs[name].kill()
            killed.append(name)

    watcher = Watcher(kill_once)
    monkeypatch.setattr("declutch.compare.progress.GridWatcher", lambda *_: Shown(watcher))
    grid = make_grid(out, base, ["grpo"], [False, True], [0], [])
    assert len(grid.waiting) == 2
    console = Console(file=io.StringIO(), width=120)
    failures = train_grid(grid, 2, console)
    assert failures == (Failure("grpo_s0", "ended by SIGKILL"),)
    assert watcher.most_at_once() == 2
    assert [str(run.id) for run in grid.waiting] == ["grpo_s0"]
    assert len(metrics_without_times(out / "grpo_s0")) < 4
    made = {path: path.stat().st_mtime_ns for path in (out / "cold_start").iterdir()}
    show_plan(grid, console)
    assert "1 of 2 runs to train" in console.file.getvalue()

    monkeypatch.undo()
    fork_runs(monkeypatch)
    arguments = ["declutch", "compare", str(out), "--methods", "grpo", "--gcd", "off,on"]
    (tmp_path / "base.yaml").write_text(json.dumps(base))
    arguments += ["--config", str(tmp_path / "base.yaml"), "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as status:
        main()
    assert not status.value.code
    shown = capsys.readouterr().out
    assert "grpo_s0: done, 2 of 2 runs" in shown
    assert "grpo+gcd_s0: started" not in shown
    assert "Success at iteration 4" in shown
    assert {path: path.stat().st_mtime_ns for path in (out / "cold_start").iterdir()} == made

    # As if it had never been killed.
    plain = grid.runs[0].config
    whole = RunFolder(tmp_path / "whole")
    with TrainWatcher(4, "whole", console=console) as watcher:
        train(plain, whole, make_suite(plain.env), watcher)
    assert metrics_without_times(out / "grpo_s0") == metrics_without_times(whole.path)

    rows = list(csv.DictReader((out / "table.csv").open()))
    assert {(row["gcd"], row["seed"], row["iteration"]) for row in rows} == {
        (gcd, seed, iteration)
        for gcd in ("off", "on")
        for seed in ("0", "all")
        for iteration in ("0", "2", "4")
    }
    # Both started from one model, and played the same games.
    starts = [row for row in rows if row["iteration"] == "0" and row["seed"] == "0"]
    by_gcd = [[{**row, "gcd": ""} for row in starts if row["gcd"] == gcd] for gcd in ("off", "on")]
    assert by_gcd[0] == by_gcd[1]

    other = make_grid(out, base, ["grpo"], [False], [5], ["sft.epochs=2"])
    with pytest.raises(UserError, match=r"cold_start\.yaml says sft\.epochs=1"):
        train_grid(other, 1, console)


class Shown:
    """A watcher as a context manager, in the place of the real watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def __enter__(self) -> Watcher:
        return self._watcher

    def __exit__(self, *_: object) -> None:
        return None

"""`declutch demo`: its control ends when it does, and is trained for as long as it was."""

import math
import os
import signal
from types import SimpleNamespace

import psutil
import pytest
from dying import kill_and_wait, parent_of, wait_for
from evaluations import make_result

from declutch.cli.demo import _run_control, _seconds_spent, describe_times, run_demo
from declutch.cold_start.sft import SFTProgress
from declutch.config.run import Config
from declutch.evaluation.results import save_result
from declutch.ground.errors import UserError
from declutch.runs.folder import RunFolder, iteration_name

# The control reads its demonstrations from a pipe that nobody writes to, and so never ends.
DEMO = """
import sys, time
from pathlib import Path
from declutch.cli.demo import _more_sft
from declutch.config.run import Config
from declutch.runs.folder import RunFolder
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    demonstrations = folder / "demonstrations.jsonl"
    with _more_sft(Config(), demonstrations, folder / "control", RunFolder(folder)):
        (folder / "started").touch()
        time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_control_ends_when_the_demo_is_killed(tmp_path, signum):
    os.mkfifo(tmp_path / "demonstrations.jsonl")
    parent = parent_of(DEMO, tmp_path, is_forked=True)
    try:
        wait_for(lambda: (tmp_path / "started").exists())
        pids = [child.pid for child in psutil.Process(parent.pid).children()]
        assert pids
        kill_and_wait(parent, signum, pids)
    finally:
        parent.kill()
        parent.wait()


def test_the_time_of_a_run_is_read_from_its_record_whatever_interrupted_it(tmp_path):
    run = RunFolder(tmp_path)
    assert _seconds_spent(run) == 0.0
    for iteration in range(1, 6):
        run.append_metrics({"iteration": iteration, "time/iteration": 10.0**iteration})
    assert _seconds_spent(run) == 0.0
    run.checkpoint_path(3).mkdir(parents=True)
    (run.checkpoint_path(3) / "trainer.pt").touch()
    assert _seconds_spent(run) == 1110.0
    first = make_result([], seconds=7.0)
    save_result(first, run.evaluation_path(iteration_name(0)))
    assert _seconds_spent(run) == 1117.0


@pytest.mark.parametrize("told_after", [0, 30, 200])
def test_the_control_trains_for_as_long_as_it_is_told(monkeypatch, tmp_path, told_after):
    """However late it learns how long that is, since the demo may have been interrupted before."""
    wanted = SimpleNamespace(value=math.inf)
    steps: list[float] = []

    def train(config, demonstrations, out, on_step, should_stop):
        while not should_stop():
            steps.append(len(steps) + 1.0)
            on_step(SFTProgress(len(steps), 0, 1, 1.0, 1, steps[-1]))
            if len(steps) >= told_after:
                wanted.value = 80.4

    monkeypatch.setattr("declutch.cold_start.pipeline.run_sft", train)
    monkeypatch.setattr("declutch.cli.demo.end_with_parent", lambda: None)
    _run_control(Config(), tmp_path / "demonstrations.jsonl", tmp_path / "control", wanted)
    assert steps[-1] == max(81.0, told_after)


def test_a_demo_in_several_processes_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(
        UserError, match=r"processes=2: the demo's control .* only with processes=1"
    ):
        run_demo(Config(processes=2), tmp_path / "demo", None)
    assert not (tmp_path / "demo").exists()


def test_a_control_with_less_time_is_not_called_a_fair_one():
    assert describe_times(80.4, 81.0).startswith("GRPO + GCD took 80 s, and the control 81 s of")
    unfair = describe_times(80.4, 19.9)
    assert "80 s, and the control 20 s: the control had less time" in unfair
    assert "no fair comparison" in unfair

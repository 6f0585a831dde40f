"""`declutch demo`: its control ends when it does, and is trained for as long as it was."""

import os
import signal

import psutil
import pytest
from dying import kill_and_wait, parent_of, wait_for

from declutch.cli.demo import _seconds_spent
from declutch.runs.folder import RunFolder

# The control reads its demonstrations from a pipe that nobody writes to, and so never ends.
DEMO = """
import sys, time
from pathlib import Path
from declutch.cli.demo import _more_sft
from declutch.config.run import Config
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with _more_sft(Config(), folder / "demonstrations.jsonl", folder / "control"):
        (folder / "started").touch()
        time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_control_ends_when_the_demo_is_killed(tmp_path, signum):
    os.mkfifo(tmp_path / "demonstrations.jsonl")
    parent = parent_of(DEMO, tmp_path)
    try:
        wait_for(lambda: (tmp_path / "started").exists())
        pids = [child.pid for child in psutil.Process(parent.pid).children()]
        assert pids
        kill_and_wait(parent, signum, pids)
    finally:
        parent.kill()
        parent.wait()


def test_the_control_makes_up_for_what_was_trained_before_an_interruption(tmp_path):
    run = RunFolder(tmp_path)
    assert _seconds_spent(run) == 0.0
    for iteration in range(1, 6):
        run.append_metrics({"iteration": iteration, "time/iteration": 10.0**iteration})
    assert _seconds_spent(run) == 0.0
    run.checkpoint_path(3).mkdir(parents=True)
    (run.checkpoint_path(3) / "trainer.pt").touch()
    assert _seconds_spent(run) == 1110.0

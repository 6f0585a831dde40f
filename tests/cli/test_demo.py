"""`declutch demo`: its control ends when it does."""

import os
import signal

import psutil
import pytest
from dying import kill_and_wait, parent_of, wait_for

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

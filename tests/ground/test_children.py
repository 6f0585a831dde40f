"""Children end with their parent; every parent here is killed for real."""

import signal
import subprocess
import sys

import pytest
from dying import kill_and_wait, parent_of, wait_for

WORKER = """
import os, sys, time
from pathlib import Path
def work(folder):
    part = Path(folder) / f"{os.getpid()}.part"
    part.write_text("")
    part.rename(part.with_suffix(".pid"))
    while True:
        time.sleep(0.05)
"""

SPAWNED = """
import multiprocessing, sys, time
from worker import work
from declutch.ground.children import end_with_parent
def follow(folder):
    end_with_parent()
    work(folder)
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=follow, args=(sys.argv[1],))
    process.start()
    time.sleep(600)
"""

POOLED = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from worker import work
from declutch.ground.children import end_with_parent
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(2, mp_context=context, initializer=end_with_parent)
    waiting = [pool.submit(work, sys.argv[1]) for _ in range(2)]
    time.sleep(600)
"""

STARTED = """
import sys, time
from worker import work
from declutch.ground.children import end_with_parent, starting_context
def follow(folder):
    end_with_parent()
    work(folder)
if __name__ == "__main__":
    context = starting_context("worker")
    for _ in range(2):
        context.Process(target=follow, args=(sys.argv[1],)).start()
    time.sleep(600)
"""

COMMAND = """
import subprocess, sys, time
from declutch.ground.children import followed_command
command = followed_command("worker_module", [sys.argv[1]])
process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""

WORKER_MODULE = """
import sys
from worker import work
assert __name__ == "__main__" and sys.argv[0].endswith("worker_module.py"), sys.argv
assert sys.stdin.read() == ""
work(sys.argv[1])
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize(
    ("code", "count"),
    [(SPAWNED, 1), (POOLED, 2), (STARTED, 2), (COMMAND, 1)],
    ids=["spawn", "pool", "started", "command"],
)
def test_children_end_when_their_parent_is_killed(tmp_path, code, count, signum):
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "worker_module.py").write_text(WORKER_MODULE)
    parent = parent_of(code, tmp_path)
    try:
        wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == count)
        pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
        kill_and_wait(parent, signum, pids)
    finally:
        parent.kill()
        parent.wait()


def test_the_pipe_alone_is_enough(tmp_path, monkeypatch):
    """As on a system whose kernel sends no signal."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "worker_module.py").write_text(
        f"from declutch.ground import children\n{WORKER_MODULE}"
    )
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes\nctypes.CDLL = lambda name: type('L', (), {'prctl': lambda *_: 0})()\n"
    )
    parent = parent_of(COMMAND, tmp_path)
    try:
        wait_for(lambda: list(tmp_path.glob("*.pid")))
        (pid,) = [int(path.stem) for path in tmp_path.glob("*.pid")]
        kill_and_wait(parent, signal.SIGKILL, [pid])
    finally:
        parent.kill()
        parent.wait()


def test_a_process_without_such_a_parent_goes_on():
    code = "from declutch.ground import children; children.end_with_parent(); print('went on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "went on\n"

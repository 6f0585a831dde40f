"""Parents that are killed for real, and whether what they started is gone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
from forking import Forked, start_forked

import declutch

END_SECONDS = 120.0
"""Long, since a child that is still importing takes that long to notice on a busy machine."""
T = TypeVar("T")


def parent_of(code: str, folder: Path, is_forked: bool = False) -> subprocess.Popen | Forked:
    """A process that runs `code` with the folder as its argument; modules there can be imported.

    Args:
        is_forked: save the time of its imports, where how it starts is not what is tested.
    """
    script = folder / "parent.py"
    script.write_text(code)
    paths = [str(Path(declutch.__file__).parents[1]), str(folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if is_forked:
        return start_forked(str(script), [str(folder)], env=env)
    return subprocess.Popen([sys.executable, str(script), str(folder)], env=env)


def wait_for(found: Callable[[], T], seconds: float = 150.0) -> T:
    """What a function finds, once it finds anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it never came")


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_and_wait(parent: subprocess.Popen | Forked, signum: int, pids: list[int]) -> None:
    """Kill a parent, and wait until the processes it started are gone, too."""
    assert not any(map(is_gone, pids))
    parent.send_signal(signum)
    parent.wait(END_SECONDS)
    wait_for(lambda: all(map(is_gone, pids)), END_SECONDS)

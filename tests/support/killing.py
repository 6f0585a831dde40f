"""Commands of declutch in forked processes, which die or are refused a file at a chosen event.

An event is anything that changes files below a folder: opening to write, flushing, renaming,
deleting, making a folder. The process dies by SIGKILL just before the event, so that every state
that a run of it leaves on the disk between two events can be seen. A forked process needs no time
to import anything; what is forked must not have started a thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_SECONDS = 120.0
DIE = "die"
TEAR = "tear"
"""Dies as DIE does; where the event is a flush of a file, half of what was added to it is gone."""
FULL = "full"
"""The event fails, since the disk is full, and so do all later ones that would need space."""
DENY = "deny"
"""The event fails, since the file system can only be read."""


@dataclass
class Fault:
    """What happens at which event of one process.

    Attributes:
        at: number of the event, from 1; 0 for never.
        kind: DIE, TEAR, FULL or DENY.
        count_path: where a process that is not killed writes how many events there were.
    """

    at: int = 0
    kind: str = DIE
    count_path: Path | None = None


@dataclass
class _Events:
    root: str
    fault: Fault
    count: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    process: int = 0

    def install(self) -> None:
        self.process = os.getpid()
        fsync = os.fsync

        def flush(descriptor: int) -> None:
            self.happen("fsync", _path_of(descriptor), descriptor)
            fsync(descriptor)

        os.fsync = flush
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if isinstance(mode, str):
                writes = any(letter in mode for letter in "wax+")
            if writes and isinstance(path, str | bytes | os.PathLike):
                name = os.path.abspath(os.fsdecode(path))
                self.happen("open", name)
                is_emptied = flags & os.O_TRUNC or not os.path.exists(name)
                self.sizes[name] = 0 if is_emptied else os.stat(name).st_size
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            path = arguments[0]
            if isinstance(path, int):
                self.happen(event, _path_of(path))
            else:
                folder = arguments[-1] if event in ("os.remove", "os.rmdir") else -1
                start = _path_of(folder) if isinstance(folder, int) and folder >= 0 else os.getcwd()
                self.happen(event, os.path.join(start, os.fsdecode(path)))

    def happen(self, event: str, path: str, descriptor: int = -1) -> None:
        # Processes that it forks itself are counted by nobody.
        if not path.startswith(self.root) or os.getpid() != self.process:
            return
        self.count += 1
        kind = self.fault.kind
        if kind in (DIE, TEAR):
            if self.count == self.fault.at:
                if kind == TEAR and event == "fsync" and os.path.isfile(path):
                    before = min(self.sizes.get(path, 0), os.fstat(descriptor).st_size)
                    os.truncate(path, (before + os.fstat(descriptor).st_size + 1) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        elif self.fault.at and self.count >= self.fault.at:
            if kind == DENY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            if event in ("open", "os.mkdir", "fsync"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _path_of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


class Forked:
    """In the place of `subprocess.Popen` for commands of declutch: forks instead of starting."""

    stdin = None

    def __init__(self, command: list[str], stdout: Any = None, **_: Any) -> None:
        words = command[command.index("declutch.cli.main") + 1 :]
        self.returncode: int | None = None
        self.pid = _fork(words, Path.cwd(), stdout.fileno(), None)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        began = time.monotonic()
        while self.poll() is None:
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired("declutch", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def prepare(modules: Callable[[], list[str]] | None = None) -> None:
    """Make this process one to fork commands from: all is imported, and no child gets lost."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    import torch

    torch.set_num_threads(1)
    for name in modules() if modules is not None else ():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def modules_of(words: list[str], folder: Path) -> list[str]:
    """The modules that a command has imported when it is done."""
    names = folder / "modules.json"
    run(words, folder, at_end=lambda: names.write_text(json.dumps(sorted(sys.modules))))
    return json.loads(names.read_text()) if names.exists() else []


def run(
    words: list[str],
    folder: Path,
    fault: Fault | None = None,
    at_end: Callable[[], object] | None = None,
    seconds: float | None = None,
) -> int:
    """Run `declutch` with these words in a folder; its exit status, or the signal it died of, < 0.

    Whatever it leaves running is killed. Its output is added to the folder's `output.txt`.

    Args:
        seconds: kill it after so long.
    """
    with (folder.parent / f"{folder.name}.output").open("ab") as output:
        pid = _fork(words, folder, output.fileno(), fault, at_end)
    began, limit = time.monotonic(), seconds or PATIENCE_SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - began > limit:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    _end_orphans()
    return os.waitstatus_to_exitcode(status)


def output_of(folder: Path) -> str:
    """What the commands that were run in a folder said."""
    path = folder.parent / f"{folder.name}.output"
    return path.read_text(errors="replace") if path.exists() else ""


def _end_orphans() -> None:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
            child.wait()


def _fork(
    words: list[str],
    folder: Path,
    output: int,
    fault: Fault | None,
    at_end: Callable[[], object] | None = None,
) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        _patch()
        events = _Events(str(folder), fault or Fault())
        if fault is not None:
            events.install()
        status = _main(words)
        fault and fault.count_path and fault.count_path.write_text(str(events.count))
        if at_end is not None:
            at_end()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _main(words: list[str]) -> int:
    from declutch.cli.main import main

    sys.argv = ["declutch", *words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _patch() -> None:
    """Let commands fork where they would start a process, and the demo's control be no race."""
    import declutch.cli.demo
    import declutch.compare.launch

    declutch.compare.launch.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": Forked})
    declutch.compare.launch.POLL_SECONDS = 0.02
    declutch.cli.demo._more_sft = _short_control
    multiprocessing.set_start_method("fork", force=True)


@contextlib.contextmanager
def _short_control(config: Any, demonstrations: Path, out: Path, *_: Any) -> Iterator[None]:
    from declutch.cold_start.pipeline import run_sft

    yield
    run_sft(config, demonstrations, out, should_stop=lambda: True)


def copy_folder(source: Path, place: Path) -> None:
    """Copy a folder with all that is hidden in it, over what there is."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place, symlinks=True)

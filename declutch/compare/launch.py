"""Training of a comparison's runs, each in a process of its own, several at a time."""

from __future__ import annotations

import signal
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from declutch.compare.grid import PlannedRun, is_complete, iterations_done
from declutch.config.run import Config
from declutch.ground.children import followed_command
from declutch.runs.folder import RunFolder
from declutch.runs.read import Metrics, read_metrics

POLL_SECONDS = 0.5
GRACE_SECONDS = 10.0


class Watcher(Protocol):
    """Whoever watches the launch of a comparison: `launch` tells it how the runs get on.

    `compare.progress.GridWatcher` is one.
    """

    def start(self, name: str, iterations: int) -> None: ...

    def update(self, name: str, rows: Sequence[Metrics]) -> None: ...

    def finish(self, name: str, problem: str) -> None: ...


@dataclass(frozen=True)
class Failure:
    """A run that a comparison launched whose process failed, and why.

    Attributes:
        name: of the run.
        problem: the last line it said, or its exit status where it said nothing.
    """

    name: str
    problem: str


@dataclass
class _Child:
    run: PlannedRun
    folder: RunFolder
    log: Path
    process: subprocess.Popen[bytes]


def train_runs(
    runs: Iterable[PlannedRun], out: Path, workers: int, watcher: Watcher, lock: int
) -> tuple[Failure, ...]:
    """Launch the training of a comparison's runs, in a process each; one that fails stops no other.

    At most `workers` are trained at once.

    An interrupt (Ctrl-C, SIGTERM) ends the processes; every run can be continued from its last
    checkpoint, and is, by training it again.

    Args:
        lock: the descriptor of the lock on `out`, which the processes hold as well.
    Returns:
        The runs that failed, in the order they did.
    """
    waiting, children, failures = deque(runs), list[_Child](), list[Failure]()
    with _terminated_like_interrupted():
        try:
            while waiting or children:
                while waiting and len(children) < workers:
                    children.append(_start(waiting.popleft(), out, lock))
                    watcher.start(
                        str(children[-1].run.id), children[-1].run.config.train.iterations
                    )
                _wait_a_little(children[0].process)
                # Asked before the metrics are read, so that the last ones are seen.
                ended = [child for child in children if child.process.poll() is not None]
                for child in children:
                    watcher.update(str(child.run.id), read_metrics(child.folder, []))
                for child in ended:
                    children.remove(child)
                    _close_pipe(child.process)
                    name, problem = str(child.run.id), _problem(child) or _incomplete(child)
                    watcher.finish(name, problem)
                    failures += [Failure(name, problem)] if problem else []
        finally:
            _end([child.process for child in children])
    return tuple(failures)


def _start(run: PlannedRun, out: Path, lock: int) -> _Child:
    folder = RunFolder(out / str(run.id)).create()
    if not folder.has_begun():
        folder.withdraw_start()
        folder.write_config(run.config)
    log = out / "logs" / f"{run.id}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            training_command(run.config, folder.path),
            # The child ends when this end of the pipe closes, which it does however we end.
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            # The terminal's Ctrl-C is for the parent, which ends its children itself.
            start_new_session=True,
            # A child that outlives its parent goes on holding the lock.
            pass_fds=(lock,),
        )
    return _Child(run, folder, log, process)


def training_command(config: Config, folder: Path) -> list[str]:
    """The command line that launches the training of a comparison's run in its folder."""
    keep = config.train.keep_checkpoints
    arguments = [
        *("train", str(folder), "--resume"),
        f"threads={config.threads}",
        f"processes={config.processes}",
        f"train.keep_checkpoints={'null' if keep is None else keep}",
    ]
    return followed_command("declutch.cli.main", arguments)


def _wait_a_little(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close_pipe(process)


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _problem(child: _Child) -> str:
    """Why a process that has ended failed, "" where it did not."""
    status = child.process.returncode
    if status == 0:
        return ""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    text = child.log.read_text(encoding="utf-8", errors="replace").strip()
    last = text.splitlines()[-1].strip().removeprefix("error: ") if text else ""
    return last or f"exit status {status}"


def _incomplete(child: _Child) -> str:
    """Why a run is not complete although its process ended well, "" where it is."""
    if is_complete(child.run, child.folder):
        return ""
    iterations = child.run.config.train.iterations
    done = iterations_done(child.folder)
    lacks = f"its metrics end at iteration {done} of {iterations}"
    if done == iterations:
        lacks = f"it has no evaluation of iteration {iterations}"
    earlier = [number for number, _ in child.folder.checkpoints() if number < iterations]
    again = child.folder.restart
    if earlier:
        again = child.folder.command("--from", str(earlier[-1]))
    return f"it was trained but cannot be completed, since {lacks}; train it again with `{again}`"


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

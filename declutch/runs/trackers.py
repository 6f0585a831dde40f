"""Trackers: a run's metrics also go to TensorBoard, wandb, MLflow or trackio, and never hold it up.

The first of the trackers is the run's own metrics.jsonl; the others are given a row once it is
there. Each of them works in a process of its own (`runs/tracker_writers.py`), which the run writes
to without waiting. One that fails, or takes longer than `trackers.timeout_seconds`, is said once
and ended, and the run goes on without it. What a resumed run finds missing at a tracker is given to
it from metrics.jsonl, so that its curve continues.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from declutch.config.run import Config
from declutch.config.trackers import TRACKERS, TrackersConfig
from declutch.ground.errors import UserError, error_reason
from declutch.ground.extras import install_command
from declutch.ground.files import write_atomically
from declutch.runs.catalogue import find
from declutch.runs.folder import RunFolder
from declutch.runs.rows import Row

Values = Mapping[str, float | None]
STATE_FILE = "state.json"
_GONE = "the run goes on without it, and metrics.jsonl has every row"


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that the packages of a run's trackers are installed, before anything takes time.

    Raises:
        UserError: one is not; the message says how to install it.
    """
    for name in names:
        if name in TRACKERS and importlib.util.find_spec(name) is None:
            raise UserError(
                f"train.report_to names {name}, whose package is not installed: "
                f"{install_command(name)}, or leave it out"
            )


@dataclass
class TrackerProcess:
    """A tracker at work in a process of its own, which a run writes to without waiting.

    Attributes:
        kind: its name in `train.report_to`.
        child: its process.
        timeout: seconds that one thing may take.
        log_path: what the other package prints.
        id: what the tracker calls the run; None until it has started.
        last: the last iteration that it has written.
        failure: why it is not at work any more; "" while it is.
        waiting: what was sent and is not answered, by the time at which it was.
        is_closed: whether it has finished in order.
    """

    kind: str
    child: subprocess.Popen[bytes]
    timeout: float
    log_path: Path
    id: str | None = None
    last: int = 0
    failure: str = ""
    waiting: deque[float] = field(default_factory=deque)
    is_closed: bool = False
    _to_send: bytearray = field(default_factory=bytearray)
    _received: bytearray = field(default_factory=bytearray)

    @classmethod
    def start(
        cls, kind: str, folder: Path, timeout: float, start: Mapping[str, Any]
    ) -> TrackerProcess:
        """Start a tracker; nothing is waited for.

        Args:
            folder: of the run's trackers.
            start: the fields of its `TrackerStart`.
        Raises:
            OSError: no process or no file could be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        log_path = folder / f"{_file_name(kind)}.log"
        with log_path.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "declutch.runs.tracker_writers"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # An interruption at the keyboard is for the run, which then closes its trackers.
                start_new_session=True,
            )
        assert child.stdin is not None
        assert child.stdout is not None
        os.set_blocking(child.stdin.fileno(), False)
        os.set_blocking(child.stdout.fileno(), False)
        process = cls(kind, child, timeout, log_path)
        process.send({"kind": kind, "path": sys.path, "start": start, "patience": timeout})
        return process

    def send(self, command: Mapping[str, Any]) -> None:
        """Send a command, at once or as soon as the pipe has room."""
        if self.failure or self.is_closed:
            return
        self._to_send += json.dumps(command).encode() + b"\n"
        self.waiting.append(time.monotonic())
        self.pump()

    def pump(self) -> None:
        """Send and read what is possible without waiting, and find out whether it has failed."""
        if self.failure or self.is_closed:
            return
        self._read()
        # What was read may have ended it, and its pipes with it.
        if not (self.failure or self.is_closed):
            with contextlib.suppress(BlockingIOError):
                self._write()
        if self.failure or self.is_closed:
            return
        if self.child.poll() is not None:
            self.fail(f"its process ended (status {self.child.returncode})")
        elif self.waiting and time.monotonic() - self.waiting[0] > self.timeout:
            self.fail(f"it did not answer for {self.timeout:g} s (trackers.timeout_seconds)")

    def fail(self, reason: str) -> None:
        """Note why the tracker is at work no more, and end its process."""
        self.failure = self.failure or reason
        self.end()

    def end(self) -> None:
        """End the process with all that it has started."""
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def _write(self) -> None:
        assert self.child.stdin is not None
        while self._to_send:
            try:
                sent = os.write(self.child.stdin.fileno(), self._to_send)
            except BrokenPipeError:
                # Why it ended is read from its answers, or from its status.
                self._to_send.clear()
                return
            del self._to_send[:sent]

    def _read(self) -> None:
        assert self.child.stdout is not None
        while True:
            try:
                found = os.read(self.child.stdout.fileno(), 65536)
            except BlockingIOError:
                break
            if not found:
                break
            self._received += found
        *lines, rest = self._received.split(b"\n")
        self._received = bytearray(rest)
        for line in lines:
            self._take(json.loads(line))

    def _take(self, answer: Mapping[str, Any]) -> None:
        """Note an answer; the patience for the next one begins now."""
        if "error" in answer:
            self.fail(str(answer["error"]).splitlines()[0][:300])
            return
        if self.waiting:
            self.waiting.popleft()
        if self.waiting:
            self.waiting[0] = time.monotonic()
        self.id = answer.get("id", self.id)
        self.last = answer.get("iteration", self.last)
        self.is_closed = bool(answer.get("closed", False))


class Trackers:
    """The trackers of a run, other than its metrics.jsonl: rows are given to all of them."""

    def __init__(self, run: RunFolder, say: Callable[[str], None]) -> None:
        """
        Args:
            run: the run whose metrics they get.
            say: is told once of each tracker that failed.
        """
        self._run = run
        self._say = say
        self._state = _read_state(run)
        self._saved = json.dumps(self._state)
        self._explained: set[str] = set()
        self._said: set[str] = set()
        self.processes: list[TrackerProcess] = []

    @classmethod
    def open(
        cls, config: Config, run: RunFolder, rows: Sequence[Row], say: Callable[[str], None]
    ) -> Trackers:
        """Start the trackers of `train.report_to`, which go on where they stopped before.

        Args:
            rows: what metrics.jsonl has of the iterations up to now; a tracker is given those that
                it does not have.
            say: is told once of each tracker that failed.
        """
        trackers = cls(run, say)
        done = max((row.iteration for row in rows), default=0)
        for kind in config.train.report_to:
            known = trackers._state.get(kind, {})
            last = min(int(known.get("last", 0)), done)
            start = _describe_start(kind, config, run, known.get("id"), last + 1)
            try:
                timeout = config.trackers.timeout_seconds
                process = TrackerProcess.start(kind, run.trackers_path, timeout, start)
            except OSError as error:
                say(f"tracker {kind} cannot start ({error_reason(error)}): {_GONE}")
                continue
            process.last = last
            trackers.processes.append(process)
        for row in rows:
            trackers._send(row.iteration, row.values)
        return trackers

    def log(self, metrics: Mapping[str, float]) -> None:
        """Give the trackers a row that metrics.jsonl has; nothing is waited for."""
        if self.processes:
            self._send(int(metrics["iteration"]), metrics)

    def close(self, is_done: bool) -> None:
        """Have the trackers write what is left, for no longer than their timeout.

        Args:
            is_done: whether the run came to its end.
        """
        for process in self.processes:
            process.send({"is_done": is_done})
        while open_ones := [p for p in self.processes if not (p.failure or p.is_closed)]:
            outputs = [p.child.stdout for p in open_ones if p.child.stdout is not None]
            select.select(outputs, [], [], 0.05)
            for process in open_ones:
                process.pump()
        self._tell()
        for process in self.processes:
            _let_end(process)

    def _send(self, iteration: int, metrics: Values) -> None:
        row = {
            key: value
            for key, value in metrics.items()
            if key != "iteration" and value is not None and math.isfinite(value)
        }
        new = set(row) - self._explained
        self._explained |= new
        found = {key: find(key) for key in sorted(new)}
        meanings = {key: metric.meaning for key, metric in found.items() if metric is not None}
        command = {"iteration": iteration, "row": row, "meanings": meanings}
        for process in self.processes:
            if iteration > process.last:
                process.send(command)
            process.pump()
        self._tell()

    def _tell(self) -> None:
        """Say which trackers failed, once each, and note how far the others are."""
        for process in self.processes:
            if process.failure and process.kind not in self._said:
                self._said.add(process.kind)
                self._say(
                    f"tracker {process.kind} failed ({process.failure}): {_GONE}; what it printed "
                    f"is in {process.log_path}"
                )
            if process.id is not None:
                self._state[process.kind] = {"id": process.id, "last": process.last}
        text = json.dumps(self._state)
        if text != self._saved:
            self._saved = text
            # It only saves a resumed run from sending rows twice.
            with contextlib.suppress(UserError):
                write_atomically(self._run.trackers_path / STATE_FILE, text)


def _let_end(process: TrackerProcess) -> None:
    """Let a tracker that has finished end by itself, for a moment."""
    assert process.child.stdin is not None
    with contextlib.suppress(OSError):
        process.child.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.child.wait(timeout=2.0)
    process.end()


def _describe_start(
    kind: str, config: Config, run: RunFolder, known_id: str | None, first: int
) -> dict[str, Any]:
    """The fields of a `TrackerStart`, as JSON."""
    options: TrackersConfig = config.trackers
    return {
        "folder": str((run.trackers_path / _file_name(kind)).resolve()),
        "project": options.project,
        "name": options.name or run.path.resolve().name,
        "config": config.model_dump(mode="json"),
        "options": options.model_dump(mode="json"),
        "id": known_id,
        "first": first,
    }


def _file_name(kind: str) -> str:
    return kind.replace(":", ".")


def _read_state(run: RunFolder) -> dict[str, Any]:
    """What earlier processes noted of the trackers; {} where there is nothing to be read."""
    try:
        found = json.loads((run.trackers_path / STATE_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

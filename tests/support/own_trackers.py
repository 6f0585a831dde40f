"""Trackers as a user might write them: one that works, and one for each way of failing."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from declutch.runs.tracker_writers import TensorBoard


class Kept:
    """Writes rows and what it is told into a file of JSON lines."""

    def __init__(self, start):
        start.folder.mkdir(parents=True, exist_ok=True)
        self.id = start.id or "first-id"
        self._path = start.folder / "rows.jsonl"
        self._write({"start": {"id": start.id, "name": start.name, "first": start.first}})

    def log(self, iteration, row, meanings):
        self._write({"iteration": iteration, "row": row, "meanings": meanings})

    def close(self, is_done):
        self._write({"is_done": is_done})

    def _write(self, record):
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")


class Raises(Kept):
    """Raises at the second row, as for a full disk."""

    def log(self, iteration, row, meanings):
        print("something on standard output")
        if iteration > 1:
            raise OSError(28, "No space left on device")


class Hangs(Kept):
    """Never comes back from the first row."""

    def log(self, iteration, row, meanings):
        time.sleep(600)


class Dies(Kept):
    """Ends its process at the first row, without a word."""

    def log(self, iteration, row, meanings):
        os._exit(7)


class HangsAtTheEnd(Kept):
    """Writes all rows, and never finishes."""

    def close(self, is_done):
        time.sleep(600)


class FullDisk(Kept):
    """Keeps its rows in the device that is always full."""

    def __init__(self, start):
        super().__init__(start)
        self._path = Path("/dev/full")


class FullTensorBoard(TensorBoard):
    """TensorBoard's real writer, whose files may have a few hundred bytes and no more."""

    def __init__(self, start):
        # Python does not notice that it wrote half of a compiled module, which others would read.
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
        super().__init__(start)

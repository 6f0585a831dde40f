"""One lock for whatever writes: it names its holder, and ends with it."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from declutch.ground.errors import UserError
from declutch.runs import lock
from declutch.runs.lock import LOCK_FILE, Holder, hold_folder, hold_output

HOLD = """
import sys, time
from pathlib import Path
from declutch.runs.lock import {name}
with {name}(Path(sys.argv[1]), "declutch test"):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(path: Path, name: str = "hold_folder") -> subprocess.Popen[str]:
    """Another process that holds a lock."""
    command = [sys.executable, "-c", HOLD.format(name=name), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize(
    ("name", "hold"), [("hold_folder", hold_folder), ("hold_output", hold_output)]
)
def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path, name: str, hold) -> None:
    place = tmp_path / "made" / "run"
    process = start_holder(place, name)
    try:
        with pytest.raises(UserError) as error, hold(place, "declutch other"):
            pass
        text = str(error.value)
        assert f"process {process.pid} on {os.uname().nodename} (`declutch test`)" in text
        assert str(place) in text
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with hold(place, "declutch other"):
        pass
    assert not list(tmp_path.rglob(f"*{LOCK_FILE}"))


def test_who_holds_it_holds_it_again(tmp_path: Path) -> None:
    with hold_folder(tmp_path, "one") as first, hold_folder(tmp_path, "two") as second:
        assert first == second
    with hold_folder(tmp_path, "three"):
        pass


def test_a_lock_that_is_kept_for_children_is_free_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_folder(tmp_path, "one", is_inherited=True):
            assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
        assert (tmp_path / LOCK_FILE).read_text() == ""


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": "x"}', "\x00\x00", "[" * 60_000])
def test_a_record_that_nobody_can_read_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK_FILE).write_text(text)
    with hold_folder(tmp_path, "one"):
        assert Holder(**json.loads((tmp_path / LOCK_FILE).read_text())).pid == os.getpid()


def record(folder: Path, **changes: object) -> Path:
    file = folder / LOCK_FILE
    file.write_text(json.dumps(asdict(replace(Holder.this_process("declutch test"), **changes))))
    return file


@pytest.fixture
def no_kernel_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)


@pytest.mark.usefixtures("no_kernel_locks")
def test_without_locks_of_the_kernel_the_record_decides(tmp_path: Path) -> None:
    record(tmp_path)
    with pytest.raises(UserError, match=f"process {os.getpid()}"), hold_folder(tmp_path, "one"):
        pass
    # The number is another process's by now.
    record(tmp_path, born="1")
    with hold_folder(tmp_path, "one"):
        pass
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    record(tmp_path, pid=process.pid)
    with hold_folder(tmp_path, "one"):
        pass


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"boot": "another"}])
def test_a_holder_on_another_machine_lives_while_it_touches_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.05)
    said: list[str] = []
    record(tmp_path, **changes)
    with hold_folder(tmp_path, "one", say=said.append):
        pass
    assert "waiting" in said[0]
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 30.0)
    file = record(tmp_path, **changes)
    is_done = threading.Event()

    def touch() -> None:
        while not is_done.wait(0.01):
            os.utime(file)

    alive = threading.Thread(target=touch)
    alive.start()
    try:
        with pytest.raises(UserError, match="already writes"), hold_folder(tmp_path, "one"):
            pass
    finally:
        is_done.set()
        alive.join()


def test_a_holder_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = threading.Event()
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.001)
    monkeypatch.setattr(lock.os, "utime", lambda descriptor: touched.set())
    with hold_folder(tmp_path, "one"):
        assert touched.wait(30)


def test_a_place_that_cannot_be_written_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for hold in (hold_folder, hold_output):
        with pytest.raises(UserError, match="cannot create"), hold(tmp_path / "file" / "x", "one"):
            pass

    def refuse(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(lock.os, "open", refuse)
    with pytest.raises(UserError, match=r"Read-only.*writable"), hold_folder(tmp_path, "one"):
        pass


def test_leftovers_of_what_is_held_are_removed(tmp_path: Path) -> None:
    for name in (".model.partial", ".other.partial", ".cold.deleted"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    with hold_output(tmp_path / "model", "one"):
        assert not (tmp_path / ".model.partial").exists()
        assert (tmp_path / ".other.partial").exists()
    with hold_folder(tmp_path, "one", ours="cold|tiny"):
        assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK_FILE, ".other.partial"]

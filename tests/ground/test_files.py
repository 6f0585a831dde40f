"""Files and folders appear whole or not at all, whoever dies while writing them."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from declutch.ground.errors import UserError
from declutch.ground.files import (
    LEFT_SECONDS,
    delete_folder,
    path_below,
    remove_leftovers,
    write_atomically,
    write_folder,
)


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    place = tmp_path / "made" / "model"
    for number in (1, 2):
        with write_folder(place) as folder:
            assert folder.parent == place.parent
            (folder / f"file {number}").write_text("x")
            assert not (place / f"file {number}").exists()
    assert [path.name for path in place.iterdir()] == ["file 2"]
    assert [path.name for path in place.parent.iterdir()] == ["model"]


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as folder:
        (folder / "old").write_text("x")
    with pytest.raises(FileNotFoundError), write_folder(tmp_path / "model") as folder:
        (folder / "absent" / "new").write_text("x")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_deleted_folder_leaves_nothing(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as folder:
        (folder / "old").write_text("x")
    delete_folder(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../../b", "a/..", "a\x00b"])
def test_a_name_cannot_lead_out_of_its_folder(name):
    with pytest.raises(UserError, match="is no name of something in"):
        path_below(Path("games"), name)
    assert path_below(Path("games"), "kind-a/trial") == Path("games/kind-a/trial")


def test_a_replacement_that_was_cut_short_is_undone(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as folder:
        (folder / "old").write_text("x")
    (tmp_path / "model").rename(tmp_path / ".model.replaced")
    (tmp_path / ".model.partial").mkdir()
    remove_leftovers(tmp_path, lambda name: name == "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]
    (tmp_path / "model").rename(tmp_path / ".model.replaced")
    with pytest.raises(ValueError, match="x"), write_folder(tmp_path / "model"):
        raise ValueError("x")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]


def test_a_temporary_file_is_left_alone_while_its_writer_lives(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host, number = socket.gethostname(), "0" * 32
    names = [f".{host}-{pid}-{number}.tmp" for pid in (os.getpid(), dead.pid)]
    names += [f".elsewhere-1-{number}.tmp", f".{number}.tmp", ".mine.tmp", ".old.tmp"]
    for name in names:
        (tmp_path / name).write_text("x")
    old = tmp_path / f".{'1' * 32}.tmp"
    old.write_text("x")
    os.utime(old, (1.0, 1.0))
    remove_leftovers(tmp_path, lambda name: False)
    assert {path.name for path in tmp_path.iterdir()} == {*names} - {names[1]}
    remove_leftovers(tmp_path / "nothing", lambda name: False)


@pytest.mark.parametrize("years", [-5, 5])
def test_a_clock_that_jumps_deletes_nothing_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    """The files are dated by the machine that stores them, whatever the clock here says."""
    names = [
        f".{socket.gethostname()}-{os.getpid()}-{'0' * 32}.tmp",
        f".elsewhere-1-{'0' * 32}.tmp",
    ]
    for name in names:
        (tmp_path / name).write_text("x")
    long_ago = time.time() - 2 * LEFT_SECONDS
    os.utime(tmp_path / names[0], (long_ago, long_ago))
    jumped = time.time() + years * 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: jumped)
    remove_leftovers(tmp_path, lambda name: False)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


@pytest.mark.parametrize(
    ("number", "words"),
    [(28, "free some space"), (30, "make the folder writable"), (20, "choose another place")],
)
def test_the_advice_suits_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("declutch.ground.files.os.fsync", fail)
    with pytest.raises(UserError, match=f"{os.strerror(number)}; {words}"):
        write_atomically(tmp_path / "facts.json", "x")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("declutch.ground.files.os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "facts.json", "x")
    with pytest.raises(KeyboardInterrupt), write_folder(tmp_path / "model"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []

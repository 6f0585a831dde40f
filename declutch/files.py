"""Write files and folders so that a crash or a full disk never leaves them half done.

A file or folder is first written under a hidden name beside its place, flushed to the disk, and
only then renamed. Whoever looks at the place sees the old content or the new one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from declutch.errors import UserError


def write_atomically(
    path: Path, text: str, what: str = "", remedy: str = "free some space"
) -> None:
    """Replace a text file so that a reader sees its old content or the new one, never a part.

    Several processes may write the same file at once; the last one wins.

    Args:
        path: its folder is made where there is none.
        what: how the error message calls the file; "" for its path.
        remedy: what the error message advises.
    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(f"cannot write {what or path}: {error.strerror}; {remedy}") from None


@contextlib.contextmanager
def write_folder(directory: Path) -> Iterator[Path]:
    """Replace a folder with what the block writes into the yielded one, or leave it as it was.

    Where the block fails, what it wrote is deleted and its error goes on. A process that dies in
    the block leaves a hidden folder behind, which the next write to the same place removes.

    Args:
        directory: its parent is made where there is none.
    Raises:
        OSError: the folder cannot be made, flushed or put in its place.
    """
    partial = _hidden(directory, "partial")
    try:
        _clear(partial)
        partial.mkdir(parents=True)
        yield partial
        flush_folder(partial)
        replace_folder(partial, directory)
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def path_below(folder: Path, name: str) -> Path:
    """The path of a file or folder below another one, by a name that may have come from anywhere.

    Raises:
        UserError: the name leads out of the folder, or could not be one.
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\x00" in name:
        raise UserError(f"{name!r} is no name of something in {folder}")
    return folder.joinpath(*parts)


def delete_folder(directory: Path) -> None:
    """Delete a folder of files so that nobody meanwhile takes what is left for a whole one."""
    doomed = _hidden(directory, "deleted")
    directory.rename(doomed)
    shutil.rmtree(doomed)


def flush_folder(directory: Path) -> None:
    """Force a folder's files and their names to the disk, so that a power cut loses none."""
    for path in [*directory.rglob("*"), directory]:
        _flush(path)


def replace_folder(new: Path, directory: Path) -> None:
    """Rename a folder of files, `new`, to `directory`; what stood there is deleted afterwards."""
    replaced = _hidden(directory, "replaced")
    _clear(replaced)
    if directory.exists():
        directory.rename(replaced)
    try:
        new.rename(directory)
    except OSError:
        if replaced.exists():
            replaced.rename(directory)
        raise
    _flush(directory.parent)
    _clear(replaced)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _hidden(directory: Path, suffix: str) -> Path:
    return directory.with_name(f".{directory.name}.{suffix}")

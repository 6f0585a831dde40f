"""Write files and folders so that a crash or a full disk never leaves them half done.

A file or folder is first written under a hidden name beside its place, flushed to the disk, and
only then renamed. Whoever looks at the place sees the old content or the new one. A process that is
killed leaves hidden names behind: `remove_leftovers` takes them away, and puts back a folder whose
replacement was cut short.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from declutch.ground.errors import UserError, error_reason

LEFT_SECONDS = 3600.0
"""A temporary file that was not touched for so long belongs to nobody any more."""

_TEMPORARY = re.compile(r"\.(?:(?P<host>.+)-(?P<pid>\d+)-)?[0-9a-f]{32}\.tmp")
_HIDDEN = re.compile(r"\.(.+)\.(partial|replaced|deleted)")


def write_atomically(path: Path, text: str, what: str = "", remedy: str = "") -> None:
    """Replace a text file so that a reader sees its old content or the new one, never a part.

    Several processes may write the same file at once; the last one wins.

    Args:
        path: its folder is made where there is none.
        what: how the error message calls the file; "" for its path.
        remedy: what the error message advises; "" for what suits the error.
    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(_temporary_name())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        raise UserError(
            f"cannot write {what or path}: {error_reason(error)}; {remedy or advise(error)}"
        ) from None


def advise(error: OSError) -> str:
    """For files that cannot be written: what to do about it, in words for the error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make the folder writable, or choose another"
    return "choose another place"


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
    _put_back(directory)
    try:
        _clear(partial)
        partial.mkdir(parents=True)
        yield partial
        flush_folder(partial)
        replace_folder(partial, directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def path_below(folder: Path, name: str) -> Path:
    """The path of a file below a folder, by a name that may have come from anywhere.

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
    _clear(doomed)
    directory.rename(doomed)
    shutil.rmtree(doomed)


def flush_folder(directory: Path) -> None:
    """Force a folder's files and their names to the disk, so that a power cut loses none."""
    for path in [*directory.rglob("*"), directory]:
        _flush(path)


def replace_folder(new: Path, directory: Path) -> None:
    """Rename a folder of files, `new`, to `directory`; what stood there is deleted afterwards."""
    replaced = _hidden(directory, "replaced")
    if directory.exists():
        _clear(replaced)
        directory.rename(replaced)
    try:
        new.rename(directory)
    except BaseException:
        _put_back(directory)
        raise
    _flush(directory.parent)
    _clear(replaced)


def remove_leftovers(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Remove the temporary files and folders that killed processes left in a folder of files.

    A folder whose replacement was cut short stands in its place again afterwards.

    Args:
        folder: need not exist. Whoever calls this holds it, so that nobody is writing in it but
            for single files, which are left alone while their writer is alive.
        is_ours: tells by its name whether the caller alone writes a folder in here.
    Raises:
        UserError: something cannot be removed.
    """
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if (match := _TEMPORARY.fullmatch(path.name)) and _is_left(path, match):
                path.unlink(missing_ok=True)
            elif (match := _HIDDEN.fullmatch(path.name)) and path.is_dir() and is_ours(match[1]):
                _put_back(folder / match[1])
                _clear(path)
    except OSError as error:
        raise UserError(
            f"cannot clean up in {folder}: {error_reason(error)}; {advise(error)}"
        ) from None


def _temporary_name() -> str:
    """A new name for a temporary file; host and process in it tell whether somebody is at it."""
    return f".{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}.tmp"


def is_running(pid: int) -> bool:
    """Whether there is a process of this number on this machine, the writer of a file perhaps."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_left(path: Path, match: re.Match[str]) -> bool:
    """Whether nobody will finish a temporary file any more, whatever this machine's clock says."""
    if match["host"] == socket.gethostname():
        return not is_running(int(match["pid"]))
    return _now_in(path.parent) - path.stat().st_mtime > LEFT_SECONDS


def _now_in(folder: Path) -> float:
    """What time it is by the clock that dates the files of a folder, perhaps another machine's."""
    path = folder / _temporary_name()
    try:
        path.touch()
        return path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)


def _put_back(directory: Path) -> None:
    """Undo the replacement of a folder that somebody was at between its two renames."""
    replaced = _hidden(directory, "replaced")
    if replaced.exists() and not directory.exists():
        replaced.rename(directory)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot flush a folder; what can be done for it has been done.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _hidden(directory: Path, suffix: str) -> Path:
    return directory.with_name(f".{directory.name}.{suffix}")

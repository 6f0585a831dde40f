"""One lock for every command that writes a run folder, or any other folder or file of a run.

The lock is a file that the kernel locks, so that it ends with its process however that ends. It
names its holder for whoever finds it taken. Where the kernel cannot say whether the holder lives,
because the file system has no locks or the holder is on another machine, what is written in the
file decides: a holder on this machine lives if its process does and began when the file says, and
one elsewhere lives while it touches the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from declutch.ground.errors import UserError, error_reason
from declutch.ground.files import advise, is_running, remove_leftovers

LOCK_FILE = ".lock"
BEAT_SECONDS = 5.0
"""How often a holder touches its lock."""
PATIENCE_SECONDS = 20.0
"""How long a holder on another machine may leave its lock untouched before it counts as dead."""
SETTLE_SECONDS = 1.0
"""How long others may take to write their names over ours, on a file system without locks."""

_held: dict[Path, tuple[int, int]] = {}
"""Process and descriptor of the locks that are held here, by their real paths."""


@dataclass(frozen=True)
class Holder:
    """Whoever holds the lock of a run folder: a process, on a machine, and when it began.

    Attributes:
        pid: the process.
        host: the machine's name.
        boot: names the machine's start, "" where it cannot be told.
        born: when the process began, in the kernel's own count, "" where it cannot be told. A
            process of the same number that began at another time is another process.
        command: what it does.
    """

    pid: int
    host: str
    boot: str
    born: str
    command: str

    @classmethod
    def this_process(cls, command: str) -> Holder:
        """This process as the holder of a run folder's lock."""
        pid = os.getpid()
        return cls(pid, socket.gethostname(), _boot(), _birth(pid), command)

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, since it was last started."""
        return (self.host, self.boot) == (socket.gethostname(), _boot())

    @property
    def is_alive(self) -> bool:
        """Whether a holder on this machine is still at work."""
        return is_running(self.pid) and self.born == _birth(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextlib.contextmanager
def hold_folder(
    folder: Path,
    command: str,
    ours: str = "",
    is_inherited: bool = False,
    say: Callable[[str], None] | None = None,
) -> Iterator[int]:
    """Lock a run folder or the like, made where there is none, so that nobody else writes in it.

    A process that holds it already holds it once more. What killed processes left is removed.

    Args:
        command: what holds it, for the message to others.
        ours: a regular expression of the folders that holders of this lock alone write in it.
        is_inherited: keep the lock's file, since processes that were started meanwhile may go on
            holding it.
        say: told of a wait.
    Returns:
        The lock's descriptor; whatever process inherits it holds the lock as well.
    Raises:
        UserError: somebody else holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {folder}: {error_reason(error)}") from None
    with _hold(folder / LOCK_FILE, folder, command, is_inherited, say) as descriptor:
        remove_leftovers(folder, lambda name: re.fullmatch(ours, name) is not None)
        yield descriptor


@contextlib.contextmanager
def hold_output(
    path: Path, command: str, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Lock a file or model folder that is going to be replaced as a whole, outside a run folder.

    The lock lies beside it, and is gone afterwards.

    Args:
        command: what holds it, for the message to others.
        say: told of a wait.
    Raises:
        UserError: somebody else holds it, or it cannot be written.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path.parent}: {error_reason(error)}") from None
    with _hold(path.with_name(f".{path.name}{LOCK_FILE}"), path, command, False, say):
        remove_leftovers(path.parent, lambda name: name == path.name)
        yield


@contextlib.contextmanager
def _hold(
    file: Path, what: Path, command: str, is_inherited: bool, say: Callable[[str], None] | None
) -> Iterator[int]:
    key = file.parent.resolve() / file.name
    process, descriptor = _held.get(key, (0, -1))
    if process == os.getpid():
        yield descriptor
        return
    try:
        descriptor = _acquire(file, what, command, say)
    except OSError as error:
        raise UserError(
            f"cannot write {what}: {error_reason(error)} ({file}); {advise(error)}"
        ) from None
    _held[key] = os.getpid(), descriptor
    is_done = threading.Event()
    beat = threading.Thread(target=_beat, args=(descriptor, is_done), daemon=True)
    beat.start()
    try:
        yield descriptor
    finally:
        is_done.set()
        # Joined, or it might touch another file that is given the same descriptor.
        beat.join()
        del _held[key]
        _release(file, descriptor, is_inherited)


def _acquire(file: Path, what: Path, command: str, say: Callable[[str], None] | None) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            is_locked = _lock(descriptor)
            holder = _read(descriptor)
            if is_locked is False or (holder is not None and _lives(holder, file, is_locked, say)):
                raise UserError(_refusal(what, file, holder))
            # Whoever held it may have deleted it between our opening and our locking it.
            if _is_same(descriptor, file):
                own = Holder.this_process(command)
                _write(descriptor, json.dumps(asdict(own)))
                if is_locked is None:
                    _see_whether_it_stays(descriptor, own, what, file)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the kernel gave the lock; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL):
            return None
        raise
    return True


def _lives(
    holder: Holder, file: Path, is_locked: bool | None, say: Callable[[str], None] | None
) -> bool:
    """Whether a holder that is on record is at work, although the kernel lets us have the lock."""
    if holder.is_here:
        return is_locked is None and holder.is_alive
    if say is not None:
        say(f"{file} is of {holder}: waiting {PATIENCE_SECONDS:.0f} s for a sign of life of it")
    touched, began = file.stat().st_mtime_ns, time.monotonic()
    while time.monotonic() - began < PATIENCE_SECONDS:
        time.sleep(min(1.0, PATIENCE_SECONDS / 4))
        # Opened anew, since a network's file system asks its server only then.
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mtime_ns != touched:
                return True
    return False


def _see_whether_it_stays(descriptor: int, own: Holder, what: Path, file: Path) -> None:
    """Where the kernel locks nothing, the last of those who wrote at once holds the lock."""
    time.sleep(SETTLE_SECONDS)
    holder = _read(descriptor)
    if holder != own:
        raise UserError(_refusal(what, file, holder))


def _refusal(what: Path, file: Path, holder: Holder | None) -> str:
    who = "another process"
    if holder is not None:
        who = f"{holder} (`{holder.command}`)"
        if holder.is_here and not holder.is_alive:
            who = f"a process that was started by {who}, which has ended,"
    return (
        f"{who} already writes in {what} and holds {file}: wait until it is done, or end it; "
        "nothing was changed"
    )


def _read(descriptor: int) -> Holder | None:
    """Who is on record, None for nobody, or for a record that cannot be read."""
    try:
        holder = Holder(**json.loads(os.pread(descriptor, 65536, 0)))
    except (ValueError, TypeError, RecursionError):
        return None
    return holder if isinstance(holder.pid, int) and holder.pid > 0 else None


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _beat(descriptor: int, is_done: threading.Event) -> None:
    while not is_done.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(descriptor)


def _release(file: Path, descriptor: int, is_inherited: bool) -> None:
    with contextlib.suppress(OSError):
        if not is_inherited and _is_same(descriptor, file):
            file.unlink()
    os.close(descriptor)
    if is_inherited:
        _forget(file)


def _forget(file: Path) -> None:
    """Delete the record of a lock that is kept, unless a process that inherited it is at work."""
    with contextlib.suppress(OSError), file.open("r+b") as opened:
        if _lock(opened.fileno()):
            opened.truncate(0)


def _is_same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _birth(pid: int) -> str:
    # Not the time of day, which may be set anew while the process runs.
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""

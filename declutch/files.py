"""Files that appear whole."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from declutch.errors import UserError


def write_atomically(
    path: Path, text: str, what: str = "", remedy: str = "free some space"
) -> None:
    """Replace a file's content; it is the old or the new one, never a part, whoever else writes it.

    Args:
        path: its folder is made where there is none.
        what: what is written, for the message; "" for the path.
        remedy: what to do where it cannot be.
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

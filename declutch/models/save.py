"""Writing a model folder so that it appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from declutch.errors import UserError


def save_model(directory: Path, model: Any, tokenizer: Any, files: Mapping[str, bytes]) -> Path:
    """Write a Hugging Face model folder with some files beside it, whole or not at all.

    Raises:
        UserError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    partial = _hidden(directory, "partial")
    try:
        _clear(partial)
        partial.mkdir(parents=True)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        _flush(partial)
        _put_in_place(partial, directory)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(
            f"cannot write the model folder {directory}: {_reason(error)}; free some space or "
            "choose another folder, then go on from the last checkpoint"
        ) from error
    return directory


def _flush(directory: Path) -> None:
    """Force files and names to the disk, so that a power cut after the renaming loses nothing."""
    for path in [*directory.rglob("*"), directory]:
        _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(partial: Path, directory: Path) -> None:
    replaced = _hidden(directory, "replaced")
    _clear(replaced)
    if directory.exists():
        directory.rename(replaced)
    try:
        partial.rename(directory)
    except OSError:
        if replaced.exists():
            replaced.rename(directory)
        raise
    _flush_one(directory.parent)
    _clear(replaced)


def _clear(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _hidden(directory: Path, suffix: str) -> Path:
    return directory.with_name(f".{directory.name}.{suffix}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

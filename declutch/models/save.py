"""Write a model with its tokenizer as a Hugging Face folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError

from declutch.errors import UserError, error_reason
from declutch.files import write_folder
from declutch.models.manifest import write_manifest


def save_model(
    directory: Path,
    model: Any,
    tokenizer: Any,
    files: Mapping[str, bytes],
    shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> Path:
    """Save a model as a Hugging Face folder; afterwards it is complete, or as it was before.

    Args:
        directory: its parent is made where there is none; a folder that is there is replaced.
        model, tokenizer: anything with `save_pretrained`.
        files: further files of the folder by name, such as a checkpoint's or a cold start's.
        shapes: shapes of the tensors in these files, by name, for the manifest.
    Returns:
        `directory`.
    Raises:
        UserError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    try:
        with write_folder(directory) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            write_manifest(folder, files, shapes)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write the model folder {directory}: {error_reason(error)}; free some space or "
            "choose another folder, then go on from the last checkpoint"
        ) from error
    return directory

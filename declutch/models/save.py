"""Write a model with its tokenizer as a Hugging Face folder, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedTokenizerFast

from declutch.ground.errors import UserError, error_reason
from declutch.ground.files import write_folder
from declutch.models.adapters import settle_adapter
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
        model, tokenizer: anything with `save_pretrained`. What the model writes into folders within
            the folder is not what it is loaded from.
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
            settle_adapter(folder)
            _save_tokenizer(tokenizer, folder)
            if type(tokenizer) is PreTrainedTokenizerFast:
                _keep_own_splitting(folder)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            below = [path.relative_to(folder).as_posix() for path in folder.glob("*/**/*")]
            write_manifest(folder, {*files, *below}, shapes)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write the model folder {directory}: {error_reason(error)}; free some space or "
            "choose another folder, then go on from the last checkpoint"
        ) from error
    return directory


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:
        # What tokenizers raises for a full disk is no subclass of `Exception`, but that itself.
        if type(error) is not Exception:
            raise
        raise OSError(error_reason(error)) from error


OWN_TOKENIZER = "tokenization_as_stored"
"""Module in a model folder for those who let transformers run a folder's code."""


def _keep_own_splitting(folder: Path) -> None:
    """Have transformers' AutoTokenizer load a tokenizer of no model's own class as it is stored.

    For some types of models, Qwen2 among them, it takes the type's own class whatever the folder
    names, and so puts that class's way of splitting in the place of the stored one: words become
    other tokens, without a warning. It leaves a tokenizer alone that declares a class of its own,
    which here is the plain one under another name.
    """
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # The name that versions 4 and 5 of transformers both know.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config["auto_map"] = {"AutoTokenizer": [None, f"{OWN_TOKENIZER}.TokenizerAsStored"]}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / f"{OWN_TOKENIZER}.py").write_text(
        "from transformers import PreTrainedTokenizerFast\n\n\n"
        "class TokenizerAsStored(PreTrainedTokenizerFast):\n"
        '    """The tokenizer of tokenizer.json, split as it is stored there."""\n',
        encoding="utf-8",
    )

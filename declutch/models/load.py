"""Load a language model with its tokenizer, and choose the device and threads it runs on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from declutch.config.policy import ModelConfig
from declutch.contents import parse_json, read_text
from declutch.errors import UserError, error_reason
from declutch.models.manifest import check_model_files


def set_threads(threads: int | None) -> None:
    """Set how many threads PyTorch computes a loaded model with; None leaves its own choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def load_model(path: str | Path, config: ModelConfig) -> tuple[PreTrainedModel, Any]:
    """Load a causal language model and its tokenizer, on the configured device.

    Args:
        path: a Hugging Face model folder, or the name of a model on the hub.
    Raises:
        UserError: nothing that can be loaded is there, or the device does not exist.
    """
    if not str(path):
        raise UserError(
            "model.path is empty: give a Hugging Face model folder or hub name, or make a tiny "
            "model with `declutch init-tiny`"
        )
    if config.check_files:
        check_model_files(Path(path))
    tokenizer = load_tokenizer(path)
    dtype = getattr(torch, config.dtype)
    return load_network(path, dtype, config.device, check_files=False), tokenizer


def load_tokenizer(path: str | Path) -> Any:
    """Load the tokenizer of a language model alone.

    Raises:
        UserError: nothing that can be loaded is there.
    """
    with _explained(path):
        return _load_tokenizer(str(path))


def load_network(
    path: str | Path, dtype: torch.dtype | None, device: str, check_files: bool = True
) -> PreTrainedModel:
    """Load a causal language model without its tokenizer, to evaluate it.

    Args:
        dtype: None takes the type that the weights are stored in.
        check_files: compare the files with the folder's manifest, where there is one, first.
    Raises:
        UserError: nothing that can be loaded is there, or the device does not exist.
    """
    transformers_logging.disable_progress_bar()
    if check_files:
        check_model_files(Path(path))
    with _explained(path):
        # Pickles can run code when they are loaded, safetensors cannot.
        model, loading = AutoModelForCausalLM.from_pretrained(
            str(path), dtype=dtype or "auto", use_safetensors=True, output_loading_info=True
        )
    _check_weights(str(path), loading["missing_keys"])
    return model.to(pick_device(device)).eval()


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    try:
        yield
    # transformers raises many types for a path that holds no model; all mean the same to a user.
    except Exception as error:
        raise UserError(
            f"no model can be loaded from {str(path)!r} ({error_reason(error)}); give a folder "
            "with config.json, model.safetensors and tokenizer files, or a hub name"
        ) from None


def _check_weights(path: str, missing: Collection[str]) -> None:
    """transformers fills weights that a folder lacks at random, without an error."""
    if missing:
        raise UserError(
            f"{path!r} lacks {len(missing)} of the model's weights, the first of them "
            f"{min(missing)}: take a whole copy of the model"
        )


def _load_tokenizer(path: str) -> Any:
    config = Path(path) / "tokenizer_config.json"
    if config.is_file():
        name = parse_json(read_text(config)).get("tokenizer_class")
        # AutoTokenizer takes the model type's own class instead, which puts its own splitting in
        # the place of the one stored: a word-level tokenizer beside a Qwen2 would be mangled.
        if name in ("TokenizersBackend", "PreTrainedTokenizerFast"):
            return PreTrainedTokenizerFast.from_pretrained(path)
    return AutoTokenizer.from_pretrained(path)


def pick_device(name: str) -> torch.device:
    """Pick the torch device that a model is loaded on, as `model.device` names it.

    "auto" is CUDA where there is one, else the CPU.

    Raises:
        UserError: no such device, or one that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"model.device={name!r} is no device; use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"model.device={name!r}: this machine has no CUDA; use auto or cpu")
    return device


def pad_token_id(tokenizer: Any) -> int:
    """The token id that a loaded tokenizer pads with; the end token's where it has no padding."""
    if tokenizer.pad_token_id is not None:
        return int(tokenizer.pad_token_id)
    if tokenizer.eos_token_id is not None:
        return int(tokenizer.eos_token_id)
    return 0

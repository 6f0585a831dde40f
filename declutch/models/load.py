"""Load a language model with its tokenizer, and choose the device and threads it runs on."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from declutch.errors import UserError


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
    tokenizer = load_tokenizer(path)
    return load_network(path, getattr(torch, config.dtype), config.device), tokenizer


def load_tokenizer(path: str | Path) -> Any:
    """Load the tokenizer of a language model alone.

    Raises:
        UserError: nothing that can be loaded is there.
    """
    with _explained(path):
        return _load_tokenizer(str(path))


def load_network(path: str | Path, dtype: torch.dtype | None, device: str) -> PreTrainedModel:
    """Load a causal language model without its tokenizer, to evaluate it.

    Args:
        dtype: None takes the type that the weights are stored in.
    Raises:
        UserError: nothing that can be loaded is there, or the device does not exist.
    """
    transformers_logging.disable_progress_bar()
    with _explained(path):
        model = AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype or "auto")
    return model.to(pick_device(device)).eval()


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    try:
        yield
    # transformers raises many types for a path that holds no model; all mean the same to a user.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"no model can be loaded from {str(path)!r} ({reason}); give a folder with "
            "config.json, model.safetensors and tokenizer files, or a hub name"
        ) from None


def _load_tokenizer(path: str) -> Any:
    config = Path(path) / "tokenizer_config.json"
    if config.is_file():
        name = json.loads(config.read_text(encoding="utf-8")).get("tokenizer_class")
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

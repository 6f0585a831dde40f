"""Checkpoints of a training run: a Hugging Face model folder with the state of training beside it.

A checkpoint folder is loaded like any model's. Its `trainer.pt` holds what training needs besides
the weights to go on bit for bit. Where the checkpoints of a run lie is told by `runs/folder.py`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from declutch.ground.errors import UserError, error_reason
from declutch.learner.restore import restore_optimizer
from declutch.models.manifest import check_further_file
from declutch.models.save import save_model

TRAINER_FILE = "trainer.pt"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's state: what a training run continues from, besides the weights beside it.

    Attributes:
        path: the folder, which any model can be loaded from.
        iteration: how many iterations had been trained.
        optimizer: the optimizer's state dict.
        parts: state dicts of what is trained beside the model, by name.
        torch_rng: state of PyTorch's global generator on the CPU.
    """

    path: Path
    iteration: int
    optimizer: dict[str, Any]
    parts: dict[str, dict[str, Any]]
    torch_rng: Tensor

    def part(self, name: str) -> dict[str, Any]:
        """The saved state of something that is trained beside the model, such as the critic.

        Raises:
            UserError: the checkpoint was written without it.
        """
        if name not in self.parts:
            raise UserError(f"{self.path} holds no {name}: it is of a run that has none")
        return self.parts[name]

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Put the optimizer and PyTorch's global generator back where they were when it was saved.

        Raises:
            UserError: the checkpoint was written with another optimizer.
        """
        restore_optimizer(optimizer, self.optimizer, str(self.path))
        try:
            torch.set_rng_state(self.torch_rng)
        except (TypeError, RuntimeError) as error:
            raise UserError(
                f"{self.path} holds no state of PyTorch's random generator: {error_reason(error)}"
            ) from None


def save_checkpoint(
    directory: Path,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer | None,
    iteration: int,
    parts: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Write a checkpoint of training; the folder is complete afterwards, or as it was before.

    Args:
        directory: its parent is made where there is none; a checkpoint there is replaced.
        model, tokenizer: anything with `save_pretrained`.
        optimizer: None where its state is in files that `model` writes.
        iteration: how many iterations have been trained.
        parts: state dicts of what is trained beside the model, by name.
        files: further files of the folder by name.
    Returns:
        `directory`.
    Raises:
        UserError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    payload = _describe(optimizer, iteration, parts)
    whole = {**files, TRAINER_FILE: _serialise(payload)}
    return save_model(directory, model, tokenizer, whole, _shapes(payload))


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read the training state of a checkpoint folder, whose weights are loaded like any model's.

    Raises:
        UserError: no checkpoint there, or a damaged one.
    """
    path = directory / TRAINER_FILE
    if not is_checkpoint(directory):
        raise UserError(f"{directory} is not a checkpoint: it has no {TRAINER_FILE}")
    manifest = check_further_file(directory, TRAINER_FILE)
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
        if payload["format"] != FORMAT:
            raise UserError(f"{path} has format {payload['format']}, this version reads {FORMAT}")
        # Versions before wrote states of random streams, if any; streams have no state any more.
        if payload.get("generators"):
            raise UserError(
                f"{path} holds states of the random streams {sorted(payload['generators'])}, which "
                "this version does not use: resume with the version that wrote it"
            )
        if manifest is not None and _shapes(payload) != dict(manifest.shapes):
            raise ValueError("its tensors have other shapes than its manifest says")
        return _read_payload(directory, payload)
    except UserError:
        raise
    # Whatever a damaged file makes of itself: the unpickler and its pieces raise many types.
    except Exception as error:
        raise UserError(
            f"cannot read {path}: {error_reason(error)}; resume from an earlier checkpoint"
        ) from error


def _read_payload(directory: Path, payload: Any) -> Checkpoint:
    """The state as it was saved; what has another type raises."""
    iteration, parts = payload["state"]["iteration"], payload.get("parts", {})
    if type(iteration) is not int or iteration < 0:
        raise ValueError(f"its iteration is {iteration!r}")
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise ValueError("what is trained beside the model has no names")
    if not isinstance(payload["optimizer"], dict):
        raise ValueError("it holds no optimizer")
    if not isinstance(payload["torch_rng"], Tensor):
        raise ValueError("it holds no state of the random generator")
    return Checkpoint(
        path=directory,
        iteration=iteration,
        optimizer=payload["optimizer"],
        parts=parts,
        torch_rng=payload["torch_rng"],
    )


def is_checkpoint(directory: Path) -> bool:
    """Whether a folder is a checkpoint that training can continue from, not a model's alone."""
    return (directory / TRAINER_FILE).is_file()


def _describe(
    optimizer: torch.optim.Optimizer | None,
    iteration: int,
    parts: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "state": {"iteration": iteration},
        "optimizer": {} if optimizer is None else optimizer.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "parts": {name: dict(part) for name, part in parts.items()},
    }


def _serialise(payload: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    return buffer.getvalue()


def _shapes(value: Any, name: str = "") -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in nested mappings, by the keys that lead to it."""
    if isinstance(value, Tensor):
        return {name: tuple(value.shape)}
    found: dict[str, tuple[int, ...]] = {}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            found |= _shapes(inner, f"{name}.{key}" if name else str(key))
    return found

"""Checkpoints: a Hugging Face model folder plus `trainer.pt`, complete or not there at all."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from declutch.errors import UserError
from declutch.models.save import _hidden, _reason, save_model

TRAINER_FILE = "trainer.pt"
FORMAT = 1
_NAME = re.compile(r"iteration-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """What a training run continues from; the weights are loaded from `path` like any model's.

    Attributes:
        path: the folder, in Hugging Face format.
        state: the run's own state, as it was given to `save_checkpoint`.
        optimizer: the optimizer's state dict.
        parts: state dicts of what is trained beside the model, by name.
        generators: states of the random streams by name.
        torch_rng: state of PyTorch's global generator on the CPU.
    """

    path: Path
    state: dict[str, Any]
    optimizer: dict[str, Any]
    parts: dict[str, dict[str, Any]]
    generators: dict[str, Tensor]
    torch_rng: Tensor

    def part(self, name: str) -> dict[str, Any]:
        """State of something trained beside the model.

        Raises:
            UserError: the checkpoint was written without it.
        """
        if name not in self.parts:
            raise UserError(f"{self.path} holds no {name}: it is of a run that has none")
        return self.parts[name]

    def restore(
        self, optimizer: torch.optim.Optimizer, generators: Mapping[str, torch.Generator]
    ) -> None:
        """Put optimizer and random streams back where they were.

        Raises:
            UserError: the checkpoint was written with other streams or another optimizer.
        """
        if set(generators) != set(self.generators):
            raise UserError(
                f"{self.path} holds the random streams {sorted(self.generators)}, this run uses "
                f"{sorted(generators)}: resume with the version that wrote it"
            )
        try:
            optimizer.load_state_dict(self.optimizer)
        except ValueError as error:
            raise UserError(f"{self.path} does not fit the model: {error}") from None
        for name, generator in generators.items():
            generator.set_state(self.generators[name])
        torch.set_rng_state(self.torch_rng)


def checkpoint_path(run_dir: Path, iteration: int) -> Path:
    """Where the checkpoint after `iteration` iterations lies."""
    return run_dir / "checkpoints" / f"iteration-{iteration:05d}"


def latest_checkpoint(run_dir: Path) -> Path | None:
    """The complete checkpoint of most iterations, or None."""
    complete = _complete_checkpoints(run_dir)
    return complete[-1] if complete else None


def prune_checkpoints(run_dir: Path, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints; keep >= 1."""
    for path in _complete_checkpoints(run_dir)[:-keep]:
        # The name goes first: a half-deleted folder must not pass for a checkpoint.
        doomed = _hidden(path, "deleted")
        path.rename(doomed)
        shutil.rmtree(doomed)


def save_checkpoint(
    directory: Path,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    generators: Mapping[str, torch.Generator],
    parts: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Path:
    """Write a checkpoint; `directory` exists afterwards with everything in it, or is untouched.

    Args:
        directory: must have a parent that can be created; a checkpoint there is replaced.
        model, tokenizer: anything with `save_pretrained`.
        state: what JSON can hold.
        generators: the run's random streams by name.
        parts: state dicts of what is trained beside the model, by name.
    Returns:
        `directory`.
    Raises:
        UserError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    return save_model(
        directory, model, tokenizer, {TRAINER_FILE: _serialise(optimizer, state, generators, parts)}
    )


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote beside the weights.

    Raises:
        UserError: no checkpoint there, or a damaged one.
    """
    path = directory / TRAINER_FILE
    if not path.is_file():
        raise UserError(f"{directory} is not a checkpoint: it has no {TRAINER_FILE}")
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
        if payload["format"] != FORMAT:
            raise UserError(f"{path} has format {payload['format']}, this version reads {FORMAT}")
        return Checkpoint(
            path=directory,
            state=payload["state"],
            optimizer=payload["optimizer"],
            parts=payload.get("parts", {}),
            generators=payload["generators"],
            torch_rng=payload["torch_rng"],
        )
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, UnpicklingError) as error:
        raise UserError(
            f"cannot read {path}: {_reason(error)}; resume from an earlier checkpoint"
        ) from error


def _serialise(
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    generators: Mapping[str, torch.Generator],
    parts: Mapping[str, Mapping[str, Any]],
) -> bytes:
    buffer = io.BytesIO()
    payload = {
        "format": FORMAT,
        "state": dict(state),
        "optimizer": optimizer.state_dict(),
        "generators": {name: generator.get_state() for name, generator in generators.items()},
        "torch_rng": torch.get_rng_state(),
        "parts": {name: dict(part) for name, part in parts.items()},
    }
    torch.save(payload, buffer)
    return buffer.getvalue()


def _complete_checkpoints(run_dir: Path) -> list[Path]:
    """Oldest first."""
    found = [
        (int(match.group(1)), path)
        for path in (run_dir / "checkpoints").glob("iteration-*")
        if (match := _NAME.fullmatch(path.name)) and (path / TRAINER_FILE).is_file()
    ]
    return [path for _, path in sorted(found)]

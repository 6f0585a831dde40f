"""Makes a plain Hugging Face folder of what verl exports of a cluster's model."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from declutch.ground.errors import UserError

WRAPPER = "base_model.model."
"""What peft puts before the names of a model that it wraps."""
A, B = (f".lora_{side}.default.weight" for side in "AB")
INDEX = "model.safetensors.index.json"


def finish_export(folder: Path, scaling: float | None) -> None:
    """Mend what verl exported of a cluster's model, so that any loader reads what was trained.

    verl says bfloat16 in config.json whatever the weights are, so that a loader would round them.
    LoRA adapters it writes beside the weights, all named as peft names them, which no loader of
    models reads: they are added to the weights. One file is held in memory at a time, and all
    adapters.

    Args:
        folder: with config.json and safetensors files, as verl wrote them; changed in place.
        scaling: what the product of an adapter's matrices is multiplied by, alpha / rank; None
            where the model has no adapters.
    Raises:
        UserError: adapters and weights do not belong to each other.
    """
    files = sorted(folder.glob("*.safetensors"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if scaling is not None:
        _merge_files(files, scaling, is_tied=bool(config.get("tie_word_embeddings")))
    config["dtype"] = str(_first_tensor(files).dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2), "utf-8")


def _first_tensor(files: list[Path]) -> Tensor:
    """Any tensor of the model; a file may have none left."""
    for path in files:
        with safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                tensor: Tensor = opened.get_tensor(name)
                return tensor
    raise UserError("verl exported no weights")


def _merge_files(files: list[Path], scaling: float, is_tied: bool) -> None:
    adapters = _read_adapters(files)
    places: dict[str, str] = {}
    for path in files:
        merged = _merge(load_file(path), adapters, scaling, is_tied)
        places |= dict.fromkeys(merged, path.name)
        # What was loaded may still be read from the old file.
        new = path.with_suffix(".new")
        save_file(merged, new, {"format": "pt"})
        new.replace(path)
    if adapters:
        raise UserError(f"verl exported an adapter that belongs to no weight: {min(adapters)}")
    index = files[0].parent / INDEX
    if index.exists():
        told = json.loads(index.read_text("utf-8"))
        told["weight_map"] = places
        index.write_text(json.dumps(told, indent=2), "utf-8")


def _read_adapters(files: list[Path]) -> dict[str, Tensor]:
    found = {}
    for path in files:
        with safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                if name.endswith((A, B)):
                    found[name] = opened.get_tensor(name)
    return found


def _merge(
    given: dict[str, Tensor], adapters: dict[str, Tensor], scaling: float, is_tied: bool
) -> dict[str, Tensor]:
    """A file's tensors with plain names; takes out of `adapters` those that it adds."""
    merged = {}
    for name, tensor in given.items():
        if name.endswith((A, B)):
            continue
        plain = name.removeprefix(WRAPPER).replace(".base_layer.", ".")
        module = name.removesuffix(".base_layer.weight")
        if module != name:
            if not {module + A, module + B} <= adapters.keys():
                raise UserError(f"verl exported no adapter of {module}")
            down, up = adapters.pop(module + A), adapters.pop(module + B)
            total = tensor.double() + scaling * (up.double() @ down.double())
            tensor = total.to(tensor.dtype)
        if not (is_tied and plain == "lm_head.weight"):
            merged[plain] = tensor.contiguous()
    return merged

"""LoRA adapter folders: few weights that belong to another model, loaded together with it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from declutch.ground.contents import parse_json, read_text
from declutch.ground.errors import UserError
from declutch.ground.extras import install_command

ADAPTER_FILE = "adapter_config.json"
"""The file by which a folder says that it holds an adapter, and whose."""


def is_adapter(path: Path) -> bool:
    """Whether a folder holds a LoRA adapter instead of a whole model."""
    return (path / ADAPTER_FILE).is_file()


def find_base(path: Path) -> str:
    """Find the model that a folder's adapter belongs to: a folder or a hub name.

    Raises:
        UserError: the adapter does not say.
    """
    try:
        base = parse_json(read_text(path / ADAPTER_FILE))["base_model_name_or_path"]
    except (KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise UserError(
            f"{path} holds an adapter whose {ADAPTER_FILE} does not name its model; write it as "
            "base_model_name_or_path there"
        )
    beside = path / base
    return str(beside) if not Path(base).exists() and beside.exists() else base


def settle_adapter(folder: Path) -> None:
    """Make what PEFT writes for an adapter the same for the same weights.

    It lists the layers in an order that differs between processes, and adds an empty model card,
    which names the folder of the base and grows when it is written again.
    """
    if not is_adapter(folder):
        return
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / ADAPTER_FILE
    data = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(data.get("target_modules"), list):
        data["target_modules"].sort()
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def merge_adapter(model: Any, path: Path) -> Any:
    """Add a folder's adapter to the weights of its model, which is then like any other.

    Raises:
        UserError: the package that reads adapters is missing, or the adapter does not fit.
    """
    require_peft(f"{path} holds an adapter")
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(path)).merge_and_unload()
    # The library raises many types for an adapter of another model.
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"the adapter in {path} does not fit {type(model).__name__} ({reason}); give the "
            f"model that it was trained on in its {ADAPTER_FILE}"
        ) from None


def require_peft(what: str) -> None:
    """Make sure that the package is there that reads adapter folders.

    Raises:
        UserError: the package is missing; `what` says what needs it.
    """
    if importlib.util.find_spec("peft") is None:
        raise UserError(f"{what}, which needs the package peft: {install_command('lora')}")

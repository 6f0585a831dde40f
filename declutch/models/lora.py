"""LoRA: small adapters that are trained in the place of a model's own weights.

The adapters are put into the model itself, so that whoever samples from it or learns by it works
as with any other. Their wrapper, which the library needs to save or switch them off, hangs on the
model without being a part of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from declutch.config.policy import LoRAConfig
from declutch.ground.errors import UserError
from declutch.models.adapters import find_base, require_peft
from declutch.models.precision import compute_dtype

_WRAPPER = "declutch_lora"


def add_lora(model: Any, base: str, config: LoRAConfig, seed: int) -> Any:
    """Put fresh LoRA adapters into a model, whose own weights no longer require a gradient.

    They change nothing at first. The model's own weights take the type of its arithmetic, since
    they are only read; the adapters are float32.

    Args:
        base: where the model was loaded from, which the adapters' folder will name.
        config: its rank is not null.
        seed: of the adapters.
    Returns:
        `model`.
    Raises:
        UserError: the package is missing, or the model has no such targets.
    """
    require_peft("model.lora.rank trains LoRA adapters")
    from peft import LoraConfig, get_peft_model

    targets = "all-linear" if config.targets == ("all-linear",) else list(config.targets)
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=targets,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    _lower(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            wrapper = get_peft_model(model, settings)
        except ValueError as error:
            raise UserError(
                f"model.lora.targets={config.targets!r} does not fit {type(model).__name__}: "
                f"{str(error).splitlines()[0]}"
            ) from None
    wrapper.peft_config["default"].base_model_name_or_path = _where(base)
    return _attach(model, wrapper)


def load_lora(model: Any, folder: Path) -> Any:
    """Go on with LoRA: put the adapters of a folder into their model, to be trained further.

    Raises:
        UserError: the package is missing, or the adapters are another model's.
    """
    require_peft(f"{folder} holds an adapter")
    from peft import PeftModel

    _lower(model)
    base = find_base(folder)
    try:
        wrapper = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    # The library raises many types for an adapter of another model.
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(f"the adapter in {folder} does not fit {base}: {reason}") from None
    return _attach(model, wrapper)


def has_lora(model: Any) -> bool:
    """Whether LoRA adapters are trained in a model."""
    return _WRAPPER in model.__dict__


@contextmanager
def without_lora(model: Any) -> Iterator[None]:
    """Switch LoRA off inside the block: the model is what it began as."""
    if not has_lora(model):
        yield
        return
    with model.__dict__[_WRAPPER].disable_adapter():
        yield


def saved_form(model: Any) -> Any:
    """With LoRA, what is saved of a model: the adapters alone; else the model itself."""
    return model.__dict__.get(_WRAPPER, model)


def merge_lora(model: Any) -> Any:
    """Add a model's LoRA adapters to its own weights, in float32, and leave them out then."""
    if not has_lora(model):
        return model
    wrapper = model.__dict__.pop(_WRAPPER)
    model.float()
    return wrapper.merge_and_unload()


def copy_trained(model: nn.Module) -> nn.Module:
    """Copy a model with LoRA adapters, sharing the weights that are only read."""
    shared = {id(p): p for p in model.parameters() if not p.requires_grad}
    return copy.deepcopy(model, dict(shared))


def _lower(model: Any) -> None:
    dtype = compute_dtype(model)
    if dtype != model.dtype:
        model.to(dtype)


def _attach(model: Any, wrapper: Any) -> Any:
    # As a submodule, the wrapper would make the model a part of itself.
    model.__dict__[_WRAPPER] = wrapper
    return model.eval()


def _where(base: str) -> str:
    """A folder by its whole path, so that the adapters are loadable from anywhere."""
    return str(Path(base).resolve()) if Path(base).exists() else base

"""Restore the saved state of a learner's optimizers and modules, after a look at its shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from declutch.ground.errors import UserError

_REMEDY = "resume from another checkpoint, or with the model that this one was made with"


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Any, what: str) -> None:
    """Restore a learner's optimizer from its saved state, which has to be of the same parameters.

    The fused AdamW reads what it is given without a look at shapes or types: a state of another
    model would end the process with a segmentation fault, or train on rubbish.

    Args:
        state: what `optimizer.state_dict()` gave.
        what: how messages call what the state was read from.
    Raises:
        UserError: the state is of other parameters, or damaged.
    """
    # Another class of optimizer has moments of its own and reads them with care.
    problem = _find_misfit(optimizer, state) if isinstance(optimizer, torch.optim.AdamW) else ""
    if problem:
        raise UserError(f"{what} does not fit the model: {problem}; {_REMEDY}")
    optimizer.load_state_dict(state)


def restore_module(module: nn.Module, state: Any, what: str) -> None:
    """Restore a part that the learner trains beside the model from its saved weights.

    Args:
        state: what `module.state_dict()` gave.
        what: how messages call what the state was read from.
    Raises:
        UserError: the state is of another module, or damaged.
    """
    own = module.state_dict()
    if not isinstance(state, Mapping) or set(state) != set(own):
        raise UserError(f"{what} does not fit the model: it holds other weights; {_REMEDY}")
    for name, tensor in own.items():
        saved = state[name]
        is_alike = isinstance(saved, Tensor) and saved.layout == tensor.layout
        if not is_alike or saved.shape != tensor.shape or saved.dtype != tensor.dtype:
            raise UserError(
                f"{what} does not fit the model: {name} is not a tensor of shape "
                f"{list(tensor.shape)}; {_REMEDY}"
            )
    module.load_state_dict(state)


def _find_misfit(optimizer: torch.optim.Optimizer, state: Any) -> str:
    """What of a saved state does not fit the optimizer; "" where all of it does."""
    if not isinstance(state, Mapping) or set(state) != {"state", "param_groups"}:
        return "it holds no parameters"
    own, saved = optimizer.state_dict()["param_groups"], state["param_groups"]
    if not isinstance(saved, list) or len(saved) != len(own):
        return "it has another number of groups of parameters"
    for group, other in zip(own, saved, strict=True):
        if not isinstance(other, Mapping) or set(other) != set(group):
            return "a group of parameters has other settings"
        numbers = other["params"]
        if not isinstance(numbers, list) or not all(type(each) is int for each in numbers):
            return "a group of parameters has no list of them"
        if numbers != group["params"]:
            return "it is of another number of parameters"
        strange = [key for key in group if not _is_alike(other[key], group[key])]
        if strange:
            return f"its setting {strange[0]!r} is {other[strange[0]]!r}"
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    entries = state["state"]
    # Before the first step there is no state; after it every trained parameter has one.
    if not isinstance(entries, Mapping) or not set(entries) <= set(range(len(parameters))):
        return "it is of another number of parameters"
    for number, entry in entries.items():
        problem = _find_misfit_of_entry(parameters[number], entry)
        if problem:
            return f"parameter {number} {problem}"
    return ""


def _find_misfit_of_entry(parameter: Tensor, entry: Any) -> str:
    if not isinstance(entry, Mapping) or set(entry) != {"step", "exp_avg", "exp_avg_sq"}:
        return "has other moments than AdamW's"
    for name, tensor in entry.items():
        shape = torch.Size([]) if name == "step" else parameter.shape
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            return f"has no tensor {name!r}"
        if tensor.shape != shape:
            return f"has shape {list(shape)}, its {name!r} {list(tensor.shape)}"
        if not tensor.is_floating_point():
            return f"has whole numbers as {name!r}"
        if not bool(tensor.isfinite().all()) or (name != "exp_avg" and bool((tensor < 0).any())):
            return f"has impossible numbers in {name!r}"
    return ""


def _is_alike(value: Any, own: Any) -> bool:
    """Whether a setting of a group is of the same kind as the optimizer's own."""
    if isinstance(own, tuple | list):
        is_list = isinstance(value, tuple | list) and len(value) == len(own)
        return is_list and all(map(_is_alike, value, own))
    if isinstance(own, float | int) and not isinstance(own, bool):
        is_number = isinstance(value, float | int) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    return type(value) is type(own)

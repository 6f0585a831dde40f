"""The optimizer of the policy, and its learning rate in each iteration."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from declutch.config.algorithm import OptimizerConfig
from declutch.ground.errors import UserError
from declutch.ground.extras import install_command


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer, AdamW, over the parameters of a model that require a gradient.

    Raises:
        UserError: as `trained_parameters`; or `config.type` needs what is not there.
    """
    parameters = trained_parameters(model)
    make: Callable[..., torch.optim.Optimizer] = partial(torch.optim.AdamW, fused=True)
    if config.type != "adamw":
        make = _find_8bit(config.type, parameters[0].device)
    return make(
        parameters,
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )


def _find_8bit(kind: str, device: torch.device) -> Callable[..., torch.optim.Optimizer]:
    """AdamW with moments of 8 bits, from bitsandbytes, which has it for CUDA."""
    lacks = []
    if device.type != "cuda":
        lacks.append(f"a model on CUDA (it is on {device.type})")
    if importlib.util.find_spec("bitsandbytes") is None:
        lacks.append(f"the package bitsandbytes ({install_command('bitsandbytes')})")
    if lacks:
        raise UserError(
            f"optimizer.type={kind} needs {' and '.join(lacks)}; set optimizer.type=adamw otherwise"
        )
    package = importlib.import_module("bitsandbytes.optim")
    name = {"adamw_8bit": "AdamW8bit", "paged_adamw_8bit": "PagedAdamW8bit"}[kind]
    made: Callable[..., torch.optim.Optimizer] = getattr(package, name)
    return made


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of a model that an optimizer is to train: those that require a gradient.

    Raises:
        UserError: there are none, or they are of a type that a step of an optimizer is too small
            for.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    name = type(model).__name__
    if not parameters:
        raise UserError(
            f"{name} has no parameter that could be trained: all are frozen; unfreeze some, or "
            "train LoRA adapters on it by model.lora"
        )
    if getattr(model, "is_quantized", False) and not hasattr(model, "peft_config"):
        raise UserError(
            f"the weights of {name} are quantised and cannot be trained; take the model that they "
            "were made of, or train LoRA adapters on it by model.lora"
        )
    low = [each for each in parameters if each.dtype in (torch.bfloat16, torch.float16)]
    if low:
        raise UserError(
            f"{len(low)} of the weights of {name} that are to be trained are {low[0].dtype}: the "
            "steps of an optimizer are smaller than the spacing of such numbers, so that they "
            "would not move. Keep the weights in float32; model.dtype=bfloat16 then is the type "
            "of the arithmetic alone"
        )
    return parameters


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, iteration: int, num_iterations: int
) -> None:
    """Set the optimizer's learning rate for an iteration, as the schedule gives it.

    Args:
        iteration: from 0 to `num_iterations` - 1.
    """
    rate = config.lr
    if config.lr_schedule == "linear":
        rate *= 1 - iteration / num_iterations
    for group in optimizer.param_groups:
        group["lr"] = rate

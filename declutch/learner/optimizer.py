"""The optimizer of the policy, and its learning rate in each iteration."""

from __future__ import annotations

import torch
from torch import nn

from declutch.config.algorithm import OptimizerConfig


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer, AdamW, over the parameters of a model that require a gradient."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        parameters,
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


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

"""A critic: a copy of the model that says, before each response token, what is still to come."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from declutch.config.algorithm import OptimizerConfig
from declutch.ground.errors import UserError
from declutch.learner.forward import response_values, sharing_break_even, vocabulary_size
from declutch.learner.optimizer import build_optimizer
from declutch.learner.pack import pack
from declutch.learner.restore import restore_module, restore_optimizer
from declutch.learner.samples import Sample, build_samples
from declutch.learner.update import Randomness, plan_steps
from declutch.models.checkpointing import checkpointing
from declutch.models.lora import copy_trained, has_lora
from declutch.models.mode import evaluation_mode
from declutch.records import Role, Step, TokenBatch


@dataclass(frozen=True)
class CriticStats:
    """Statistics of one iteration's update of PPO's critic.

    Attributes:
        num_steps: optimizer steps.
        loss: mean over the steps, in squared units of the return.
        clip_share: tokens whose value had moved further than the clip range.
        grad_norm: before clipping, mean over the steps.
        explained_variance: of the returns, by the values before the update; None where all
            returns are equal.
        value_mean: of the values before the update.
    """

    num_steps: int
    loss: float
    clip_share: float
    grad_norm: float
    explained_variance: float | None
    value_mean: float


@dataclass(frozen=True)
class Critic:
    """PPO's critic: a value model with an optimizer of its own, both changed in place."""

    model: Any
    optimizer: torch.optim.Optimizer

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"model": _trained_weights(self.model), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave."""
        what = "the checkpoint's critic"
        saved = state.get("model")
        if has_lora(self.model) and isinstance(saved, Mapping):
            frozen = set(self.model.state_dict()) - set(_trained_weights(self.model))
            own = self.model.state_dict()
            saved = {**{name: own[name] for name in frozen}, **saved}
        restore_module(self.model, saved, what)
        restore_optimizer(self.optimizer, state.get("optimizer"), what)


def _trained_weights(model: Any) -> dict[str, Tensor]:
    """A critic's weights by name; beside LoRA adapters those that are only read are left out."""
    own: dict[str, Tensor] = model.state_dict()
    if not has_lora(model):
        return own
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    return {name: tensor for name, tensor in own.items() if name in trained}


def make_critic(model: Any, opt: OptimizerConfig, lr: float) -> Critic:
    """Make the critic of a policy, with its optimizer at a learning rate of its own."""
    critic = build_critic(model)
    return Critic(critic, build_optimizer(critic, opt.model_copy(update={"lr": lr})))


def build_critic(model: Any) -> Any:
    """Copy a causal language model into a critic, whose read-out is one number a token."""
    # Beside LoRA adapters the weights are only read: policy and critic share them.
    critic: Any = copy_trained(model) if has_lora(model) else copy.deepcopy(model)
    if not has_lora(model):
        critic.requires_grad_(True)
    weight = model.get_output_embeddings().weight
    # What is trained is never of a coarser type than float32.
    dtype = torch.promote_types(weight.dtype, torch.float32)
    head = nn.Linear(weight.shape[1], 1).to(weight.device, dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    critic.set_output_embeddings(head)
    return critic


def value_samples(
    steps: Sequence[Step], old_values: Sequence[Tensor], returns: Sequence[Tensor]
) -> tuple[Sample, ...]:
    """What PPO's critic is trained on: steps with their old values and returns, f32[T] each."""
    plain = build_samples(steps, torch.zeros(len(steps)), Role.AGENT, masked=False)
    return tuple(
        replace(sample, old_values=values, returns=wanted)
        for sample, values, wanted in zip(plain, old_values, returns, strict=True)
    )


def value_loss(values: Tensor, batch: TokenBatch, clip: float, normalizer: float) -> Tensor:
    """What PPO's critic learns by: the clipped squared error of its values.

    Per token `max((V - R)^2, (clamp(V, V_old - clip, V_old + clip) - R)^2) / 2`.

    Args:
        values: f32[N] at the batch's response tokens.
        batch: with `returns` and `old_values`.
        clip: in units of the return.
        normalizer: response tokens of the whole mini-batch.
    Source: Schulman et al. 2017, the clipped value loss of its reference implementation.
    """
    assert batch.returns is not None
    assert batch.old_values is not None
    returns, old = (
        field[batch.response_mask].to(values.device) for field in (batch.returns, batch.old_values)
    )
    clipped = old + (values - old).clamp(-clip, clip)
    error = torch.maximum((values - returns).square(), (clipped - returns).square())
    return error.sum() / (2 * normalizer)


def update_critic(
    critic: Critic,
    samples: Sequence[Sample],
    clip: float,
    opt: OptimizerConfig,
    generator: torch.Generator,
    pad_id: int,
) -> CriticStats:
    """Train the critic on one iteration's samples, in as many optimizer steps as the actor takes.

    Args:
        critic: from `make_critic`.
        samples: from `value_samples`, at least one.
        clip: see `value_loss`.
        opt: mini-batches, epochs, gradient clipping and tokens of a pass.
        generator: shuffles the samples.
    Raises:
        UserError: the gradient is not finite.
    """
    model, optimizer = critic.model, critic.optimizer
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    losses, norms, num_clipped = [], [], 0
    with evaluation_mode(model):
        for _ in range(opt.epochs):
            prompts = [sample.prompt_ids for sample in samples]
            plan = plan_steps(prompts, (), opt, Randomness(generator, generator))
            for chosen in (agent for agent, _ in plan):
                optimizer.zero_grad(set_to_none=True)
                part = [samples[index] for index in chosen]
                loss, clipped = _backward(model, part, clip, opt, pad_id)
                norm = float(nn.utils.clip_grad_norm_(parameters, opt.grad_clip))
                if not math.isfinite(norm):
                    raise UserError(
                        f"the critic's gradient has norm {norm}: it has diverged; lower "
                        "algorithm.critic_lr and resume from the last checkpoint"
                    )
                optimizer.step()
                losses.append(loss)
                norms.append(norm)
                num_clipped += clipped
        optimizer.zero_grad(set_to_none=True)
    values, returns = (
        torch.cat([getattr(sample, name).double() for sample in samples])
        for name in ("old_values", "returns")
    )
    return CriticStats(
        num_steps=len(losses),
        loss=sum(losses) / len(losses),
        clip_share=num_clipped / max(values.numel() * opt.epochs, 1),
        grad_norm=sum(norms) / len(norms),
        explained_variance=explained_variance(values, returns),
        value_mean=float(values.mean()),
    )


def explained_variance(values: Tensor, returns: Tensor) -> float | None:
    """How much of the returns' variance PPO's critic explains: `1 - Var(R - V) / Var(R)`."""
    variance = float(returns.var(correction=0))
    if variance == 0:
        return None
    return 1 - float((returns - values).var(correction=0)) / variance


def _backward(
    critic: nn.Module, samples: Sequence[Sample], clip: float, opt: OptimizerConfig, pad_id: int
) -> tuple[float, int]:
    """Leave the gradient in the parameters; the loss, and how many tokens were clipped."""
    normalizer = float(max(sum(sample.response_ids.numel() for sample in samples), 1))
    break_even = sharing_break_even(critic)
    total, num_clipped = 0.0, 0
    for batch in pack(samples, opt.pass_tokens, pad_id, vocabulary_size(critic), break_even):
        with checkpointing(critic):
            values = response_values(critic, batch)
            loss = value_loss(values, batch, clip, normalizer)
            loss.backward()
        total += float(loss.detach())
        assert batch.old_values is not None
        moved = (values.detach().cpu() - batch.old_values[batch.response_mask]).abs()
        num_clipped += int((moved > clip).sum())
    return total, num_clipped

"""One iteration's optimizer steps: agent and judge meet here, and only in the summed gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from declutch.config.algorithm import OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.ground.errors import UserError
from declutch.learner.lesson import Lesson
from declutch.learner.update_stats import (
    PartSums,
    StepStats,
    UpdateStats,
    sum_mismatch,
    summarise,
)
from declutch.models.mode import evaluation_mode

LARGEST_MISMATCH = 20.0
"""A single token may be this many times further off than tokens may be on average."""
MAX_JUDGE_SCALE = 10.0
"""`gcd.gradient_ratio` multiplies the judge's gradient with no more than this."""
SMALL_GRADIENT_BYTES = 1 << 30
"""A gradient smaller than this is kept for each role where nothing says otherwise."""
PRODUCT_ENTRIES = 1 << 24
"""How many entries of two gradients are multiplied in double precision at once."""


@dataclass(frozen=True)
class Randomness:
    """The random streams that the learner's update draws mini-batches from, one a role.

    Attributes:
        agent: shuffles the agent's samples.
        judge: shuffles the judge's samples.
    """

    agent: torch.Generator
    judge: torch.Generator


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    agent: Lesson,
    judge: Lesson | None,
    opt: OptimizerConfig,
    gcd: GCDConfig,
    randomness: Randomness,
    max_mismatch: float | None = None,
) -> UpdateStats:
    """Update the policy on one iteration's samples, the agent's and an auxiliary task's.

    Shuffled agent samples alone set the mini-batches and their normaliser. Judge samples are
    spread evenly over the same optimizer steps, in passes of their own, normalised by their own
    count. The gradient is `agent + gcd.weight * judge`, or, with `gcd.gradient_ratio`, the judge
    part rescaled to that multiple of the agent's norm. A weight of 0 adds nothing: the parameters
    are those of the agent's samples alone, bit for bit. Where neither that ratio nor the cosine
    (`gcd.gradient_cosine`) is asked for, the judge's gradient is added to the agent's as it arises;
    its norm is then not known.

    Args:
        model: updated in place.
        optimizer: over the model's parameters; updated in place.
        agent: what the agent's own play teaches.
        judge: what the auxiliary task teaches; None is plain policy optimisation.
        opt: mini-batches, epochs and gradient clipping.
        gcd: weight of the auxiliary part.
        randomness: shuffles the samples.
        max_mismatch: how far, in nats, the sampler's log-probabilities may lie from the learner's
            on average, and a token's by 20 times more; None does not look.
    Raises:
        UserError: the gradient is not finite; the weights are still those of the step before. Or
            the log-probabilities lie apart; nothing is changed then.
        ValueError: no agent samples.
    """
    if not agent.prompts:
        raise ValueError("an update needs at least one agent sample")
    questions = judge.prompts if judge is not None else ()
    steps: list[StepStats] = []
    measures, is_added = _measures_cosine(model, gcd), not keeps_both_gradients(model, gcd)
    with evaluation_mode(model):
        for _ in range(opt.epochs):
            for agent_ids, judge_ids in plan_steps(agent.prompts, questions, opt, randomness):
                agent_part = _differentiate(model, agent, agent_ids)
                judge_part = None
                if judge is not None and judge_ids and is_added:
                    judge_part = _add_gradient(model, judge, judge_ids, agent_part, gcd.weight)
                elif judge is not None and judge_ids:
                    judge_part = _differentiate(model, judge, judge_ids)
                if not steps and max_mismatch is not None:
                    parts = [part.sums for part in (agent_part, judge_part) if part is not None]
                    _check_mismatch(parts, max_mismatch)
                cosine = _cosine(agent_part, judge_part) if judge_part and measures else None
                stats = _step(model, optimizer, agent_part, judge_part, opt, gcd)
                steps.append(replace(stats, cosine=cosine))
                # Neither the next step's passes nor what comes after have room for these.
                del agent_part, judge_part
                for parameter in _trained(model):
                    parameter.grad = None
                if judge is not None and judge_ids:
                    judge.step(opt.grad_clip)
    return summarise(steps, agent.has_kl, judge is not None and judge.has_kl)


def keeps_both_gradients(model: nn.Module, gcd: GCDConfig) -> bool:
    """Whether an update holds the agent's gradient and the judge's at once, each by itself."""
    return _measures_cosine(model, gcd) or gcd.gradient_ratio is not None or gcd.weight == 0


def plan_steps(
    agent: Sequence[Tensor], judge: Sequence[Tensor], opt: OptimizerConfig, randomness: Randomness
) -> list[tuple[list[int], list[int]]]:
    """Divide an update's samples among its optimizer steps: (agent's, judge's) indices each.

    `opt.mini_batch` is an upper bound: the steps' sizes differ by one at most, since a small rest
    would otherwise be a step as long as the others. Judgments of one question stay together, and,
    unless `opt.shuffle` is "samples", so do the agent's samples of one prompt, because they can
    share it. Where a step ends within a prompt, its other samples are the first of the next.

    Args:
        agent: the prompts, i64[P], of the agent's samples.
        judge: those of the auxiliary task's samples.
    """
    num_agent = len(agent)
    if opt.mini_batch is None:
        num_steps = min(opt.num_mini_batches, num_agent)
    else:
        num_steps = math.ceil(num_agent / opt.mini_batch)
    if opt.shuffle == "samples":
        agent_order = torch.randperm(num_agent, generator=randomness.agent)
    else:
        agent_order = _shuffle_by_prompt(agent, randomness.agent)
    judge_order = _shuffle_by_prompt(judge, randomness.judge)
    return [
        (agent_ids.tolist(), judge_ids.tolist())
        for agent_ids, judge_ids in zip(
            agent_order.tensor_split(num_steps), judge_order.tensor_split(num_steps), strict=True
        )
    ]


def _shuffle_by_prompt(prompts: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """A random order i64[N] of samples, in which those of one prompt follow each other."""
    by_prompt: dict[bytes, list[int]] = {}
    for index, prompt in enumerate(prompts):
        # Long prompts would take five times as much memory as numbers of Python.
        by_prompt.setdefault(prompt.numpy().tobytes(), []).append(index)
    members = list(by_prompt.values())
    order = torch.randperm(len(members), generator=generator).tolist()
    return torch.tensor([index for prompt in order for index in members[prompt]], dtype=torch.int64)


@dataclass(frozen=True)
class _Part:
    """One role's share of an optimizer step.

    Attributes:
        gradient: one tensor a parameter; None where it was added to the agent's as it arose.
        norm: of its gradient; None where it is not known by itself.
    """

    gradient: list[Tensor] | None
    norm: float | None
    sums: PartSums


def _differentiate(model: nn.Module, lesson: Lesson, chosen: Sequence[int]) -> _Part:
    """Gradient of the chosen examples' loss. The parameters' own `grad` is left empty."""
    parameters = _trained(model)
    for parameter in parameters:
        parameter.grad = None
    sums = lesson.backward(model, chosen)
    gradient = _take_gradient(parameters)
    return _Part(gradient, float(nn.utils.get_total_norm(gradient)), sums)


def _add_gradient(
    model: nn.Module, lesson: Lesson, chosen: Sequence[int], agent: _Part, weight: float
) -> _Part:
    """Add `weight` times the gradient of the chosen examples' loss to the agent's, as it arises."""
    assert agent.gradient is not None
    parameters = _trained(model)
    for parameter, gradient in zip(parameters, agent.gradient, strict=True):
        parameter.grad = gradient
    # What the lesson trains of its own is not among these, and follows its own loss.
    handles = [parameter.register_hook(lambda part: part * weight) for parameter in parameters]
    try:
        sums = lesson.backward(model, chosen)
    finally:
        for handle in handles:
            handle.remove()
    agent.gradient[:] = _take_gradient(parameters)
    return _Part(None, None, sums)


def _take_gradient(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Each parameter's gradient, zeros where it has none, taken out of its `grad`."""
    gradient = []
    for parameter in parameters:
        found = parameter.grad
        gradient.append(torch.zeros_like(parameter) if found is None else found)
        parameter.grad = None
    return gradient


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    agent: _Part,
    judge: _Part | None,
    opt: OptimizerConfig,
    gcd: GCDConfig,
) -> StepStats:
    assert agent.gradient is not None
    assert agent.norm is not None
    scale = 0.0
    if judge is not None:
        scale = gcd.weight if judge.norm is None else _judge_scale(agent.norm, judge.norm, gcd)
    parameters = _trained(model)
    for index, parameter in enumerate(parameters):
        parameter.grad = agent.gradient[index]
        # Adding zero times something would still turn -0 into 0, and infinity into not a number.
        if judge is not None and judge.gradient is not None and scale != 0:
            parameter.grad.add_(judge.gradient[index], alpha=scale)
    norm = float(nn.utils.clip_grad_norm_(parameters, opt.grad_clip))
    if not math.isfinite(norm):
        raise UserError(
            f"the gradient's norm is {norm}: training has diverged; lower optimizer.lr={opt.lr} "
            "and resume from the last checkpoint"
        )
    optimizer.step()
    return StepStats(
        agent=agent.sums,
        judge=None if judge is None else judge.sums,
        agent_norm=agent.norm,
        judge_norm=None if judge is None else judge.norm,
        judge_scale=scale,
        cosine=None,
        grad_norm=norm,
    )


def _check_mismatch(parts: Sequence[PartSums], limit: float) -> None:
    """Stop before the first step where the samples are not of the policy that is to learn."""
    mean, largest = sum_mismatch(parts)
    if mean is None or largest is None:
        return
    if mean > limit or largest > LARGEST_MISMATCH * limit:
        raise UserError(
            f"the log-probabilities of the engine that sampled and of the learner are "
            f"{mean:.3g} nats apart on average and {largest:.3g} at most (update/mismatch_mean, "
            f"update/mismatch_max), beyond loss.max_mismatch={limit:g}: the samples are not of the "
            "policy that would learn from them. Nothing was learned from them. Set "
            "model.dtype=float32 if the model computes in another type, report the architecture "
            "if it does not, or raise loss.max_mismatch and resume the run"
        )


def _judge_scale(agent_norm: float, judge_norm: float, gcd: GCDConfig) -> float:
    if gcd.weight == 0 or judge_norm == 0:
        return 0.0
    if gcd.gradient_ratio is None:
        return gcd.weight
    # A gradient that is next to nothing is noise (equal rewards, say): it is not blown up.
    return min(gcd.gradient_ratio * agent_norm / judge_norm, MAX_JUDGE_SCALE)


def _measures_cosine(model: nn.Module, gcd: GCDConfig) -> bool:
    """Whether both gradients are kept apart until their norms and cosine are known."""
    if gcd.gradient_cosine is not None:
        return gcd.gradient_cosine
    return sum(parameter.nbytes for parameter in _trained(model)) < SMALL_GRADIENT_BYTES


def _cosine(agent: _Part, judge: _Part) -> float | None:
    if not agent.norm or not judge.norm:
        return None
    assert agent.gradient is not None
    assert judge.gradient is not None
    product = sum(
        _product(left, right) for left, right in zip(agent.gradient, judge.gradient, strict=True)
    )
    return product / (agent.norm * judge.norm)


def _product(left: Tensor, right: Tensor) -> float:
    """Sum of the products of entries, in double precision, of which no large copy is made."""
    if left.numel() <= PRODUCT_ENTRIES:
        return float((left.double() * right.double()).sum())
    parts = zip(*(each.flatten().split(PRODUCT_ENTRIES) for each in (left, right)), strict=True)
    return sum(float((a.double() * b.double()).sum()) for a, b in parts)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]

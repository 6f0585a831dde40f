"""One iteration's optimizer steps: agent and judge meet here, and only in the summed gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.errors import UserError
from declutch.learner.forward import sharing_break_even, token_logprobs
from declutch.learner.loss import loss_normalizer, policy_loss
from declutch.learner.mode import evaluation_mode, vocabulary_size
from declutch.learner.pack import pack
from declutch.learner.samples import Sample, has_no_gradient
from declutch.learner.update_stats import PartSums, StepStats, UpdateStats, summarise
from declutch.learner.value_head import Classification, ValueHead

MAX_JUDGE_SCALE = 10.0
"""`gcd.gradient_ratio` multiplies the judge's gradient with no more than this."""


@dataclass(frozen=True)
class Randomness:
    """Where mini-batches are drawn from; two streams, so that judging never moves the agent's.

    Attributes:
        agent: shuffles the agent's samples.
        judge: shuffles the judge's samples.
    """

    agent: torch.Generator
    judge: torch.Generator


@dataclass(frozen=True)
class PassSettings:
    """What a forward and backward pass has to know.

    Attributes:
        loss: the policy loss.
        temperature: what the responses were sampled at.
        token_budget: tokens of one pass, padding included.
        pad_id: any token of the vocabulary.
        skip_idle: leave samples out that cannot move the policy; changes nothing but rounding.
        break_even: as in `pack`; None computes each sample by itself.
    """

    loss: LossConfig
    temperature: float
    token_budget: int
    pad_id: int
    skip_idle: bool = True
    break_even: float | None = None


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    agent: Sequence[Sample],
    judge: Sequence[Sample] | Classification,
    loss: LossConfig,
    opt: OptimizerConfig,
    gcd: GCDConfig,
    temperature: float,
    randomness: Randomness,
    pad_id: int,
    max_response_tokens: int,
    skip_idle: bool = True,
    share_prompts: bool = True,
) -> UpdateStats:
    """Train on one iteration's samples.

    Shuffled agent samples alone set the mini-batches and their normaliser. Judge samples are
    spread evenly over the same optimizer steps, in passes of their own, normalised by their own
    count. The gradient is `agent + gcd.weight * judge`, or, with `gcd.gradient_ratio`, the judge
    part rescaled to that multiple of the agent's norm. A weight of 0 adds nothing: the parameters
    are those of the agent's samples alone, bit for bit.

    Args:
        model: updated in place.
        optimizer: over the model's parameters; updated in place.
        agent, judge: the samples; no judge sample is plain policy optimisation. A value head with
            its labelled examples may stand in the place of judge samples; it is updated in place.
        temperature: what the responses were sampled at.
        max_response_tokens: the agent's limit; "seq-mean-token-sum-norm" divides by it.
        skip_idle: as in `PassSettings`; clip share, KL and entropy are over the rest.
        share_prompts: compute what prompts have in common once, where the model can; changes
            nothing but rounding.
    Raises:
        UserError: the gradient is not finite; the weights are still those of the step before.
        ValueError: no agent samples, or a KL is asked for and a sample has no reference.
    """
    _check(agent, judge, loss)
    break_even = sharing_break_even(model) if share_prompts else None
    settings = PassSettings(
        loss, temperature, opt.micro_batch_tokens, pad_id, skip_idle, break_even
    )
    train_agent = partial(_policy_backward, model, agent, settings, max_response_tokens)
    head, questions, train_judge = _judge_task(model, judge, settings, gcd.max_response_tokens)
    steps = []
    with evaluation_mode(model):
        for _ in range(opt.epochs):
            for agent_ids, judge_ids in plan_steps(len(agent), questions, opt, randomness):
                agent_part = _differentiate(model, train_agent, agent_ids)
                judge_part = None
                if judge_ids:
                    judge_part = _differentiate(model, train_judge, judge_ids)
                steps.append(_step(model, optimizer, agent_part, judge_part, opt, gcd))
                if head is not None and judge_part is not None:
                    head.step(opt.grad_clip)
    return summarise(steps, has_kl=loss.kl_coef > 0)


def plan_steps(
    num_agent: int, judge: Sequence[_Prompted], opt: OptimizerConfig, randomness: Randomness
) -> list[tuple[list[int], list[int]]]:
    """Sample indices of each optimizer step of one pass over the data: (agent's, judge's).

    `opt.mini_batch` is an upper bound: the steps' sizes differ by one at most, since a small rest
    would otherwise be a step as long as the others. Judgments of one question stay together, so
    that they can share its prompt.
    """
    if opt.mini_batch is None:
        num_steps = min(opt.num_mini_batches, num_agent)
    else:
        num_steps = math.ceil(num_agent / opt.mini_batch)
    agent_order = torch.randperm(num_agent, generator=randomness.agent)
    judge_order = torch.tensor(_shuffle_by_prompt(judge, randomness.judge), dtype=torch.int64)
    return [
        (agent_ids.tolist(), judge_ids.tolist())
        for agent_ids, judge_ids in zip(
            agent_order.tensor_split(num_steps), judge_order.tensor_split(num_steps), strict=True
        )
    ]


class _Prompted(Protocol):
    @property
    def prompt_ids(self) -> Tensor: ...


def _shuffle_by_prompt(samples: Sequence[_Prompted], generator: torch.Generator) -> list[int]:
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for index, sample in enumerate(samples):
        by_prompt.setdefault(tuple(sample.prompt_ids.tolist()), []).append(index)
    members = list(by_prompt.values())
    order = torch.randperm(len(members), generator=generator).tolist()
    return [index for prompt in order for index in members[prompt]]


@dataclass(frozen=True)
class _Part:
    """One role's share of an optimizer step: its gradient, one tensor a parameter."""

    gradient: list[Tensor]
    norm: float
    sums: PartSums


_Backward = Callable[[Sequence[int]], PartSums]
"""Adds the gradient of the samples of given indices to the parameters' `grad`."""


def _judge_task(
    model: nn.Module,
    judge: Sequence[Sample] | Classification,
    settings: PassSettings,
    max_response_tokens: int,
) -> tuple[ValueHead | None, Sequence[_Prompted], _Backward]:
    """The head that learns with the judge's samples, if any; the samples; their loss."""
    if isinstance(judge, Classification):
        backward = partial(judge.backward, model, settings.token_budget, settings.pad_id)
        return judge.head, judge.examples, backward
    return None, judge, partial(_policy_backward, model, judge, settings, max_response_tokens)


def _differentiate(model: nn.Module, backward: _Backward, chosen: Sequence[int]) -> _Part:
    """Gradient of the chosen samples' loss. The parameters' own `grad` is left empty."""
    parameters = _trained(model)
    for parameter in parameters:
        parameter.grad = None
    sums = backward(chosen)
    gradient = [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for parameter in parameters
    ]
    for parameter in parameters:
        parameter.grad = None
    return _Part(gradient, float(nn.utils.get_total_norm(gradient)), sums)


def _policy_backward(
    model: nn.Module,
    population: Sequence[Sample],
    settings: PassSettings,
    max_response_tokens: int,
    chosen: Sequence[int],
) -> PartSums:
    samples = [population[index] for index in chosen]
    num_tokens = sum(sample.response_ids.numel() for sample in samples)
    normalizer = loss_normalizer(num_tokens, len(samples), settings.loss, max_response_tokens)
    active = [
        sample
        for sample in samples
        if not (settings.skip_idle and has_no_gradient(sample, settings.loss.kl_coef))
    ]
    sums = PartSums(num_samples=len(samples), num_skipped=len(samples) - len(active))
    batches = pack(
        active,
        settings.token_budget,
        settings.pad_id,
        vocabulary_size(model),
        settings.break_even,
    )
    for batch in batches:
        logprobs, entropy = token_logprobs(model, batch, settings.temperature)
        loss, loss_stats = policy_loss(logprobs, batch, settings.loss, normalizer)
        loss.backward()
        sums = sums.add(batch, loss.detach(), loss_stats, logprobs.detach(), entropy)
    return sums


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    agent: _Part,
    judge: _Part | None,
    opt: OptimizerConfig,
    gcd: GCDConfig,
) -> StepStats:
    scale = 0.0 if judge is None else _judge_scale(agent.norm, judge.norm, gcd)
    parameters = _trained(model)
    for index, parameter in enumerate(parameters):
        parameter.grad = agent.gradient[index]
        # Adding zero times something would still turn -0 into 0, and infinity into not a number.
        if judge is not None and scale != 0:
            parameter.grad = parameter.grad.add(judge.gradient[index], alpha=scale)
    cosine = None if judge is None else _cosine(agent, judge)
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
        cosine=cosine,
        grad_norm=norm,
    )


def _judge_scale(agent_norm: float, judge_norm: float, gcd: GCDConfig) -> float:
    if gcd.weight == 0 or judge_norm == 0:
        return 0.0
    if gcd.gradient_ratio is None:
        return gcd.weight
    # A gradient that is next to nothing is noise (equal rewards, say): it is not blown up.
    return min(gcd.gradient_ratio * agent_norm / judge_norm, MAX_JUDGE_SCALE)


def _cosine(agent: _Part, judge: _Part) -> float | None:
    if agent.norm == 0 or judge.norm == 0:
        return None
    product = sum(
        float((left.double() * right.double()).sum())
        for left, right in zip(agent.gradient, judge.gradient, strict=True)
    )
    return product / (agent.norm * judge.norm)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _check(
    agent: Sequence[Sample], judge: Sequence[Sample] | Classification, loss: LossConfig
) -> None:
    if not agent:
        raise ValueError("an update needs at least one agent sample")
    samples = agent if isinstance(judge, Classification) else (*agent, *judge)
    if loss.kl_coef > 0 and any(s.ref_logprobs is None for s in samples):
        raise ValueError(f"loss.kl_coef={loss.kl_coef} needs the reference's log-probabilities")

"""Train a model on supervised examples: the cold start before reinforcement learning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from transformers import PreTrainedModel

from declutch.cold_start.examples import Example
from declutch.config.policy import SFTConfig
from declutch.ground.errors import UserError
from declutch.learner.forward import example_loss
from declutch.learner.optimizer import trained_parameters
from declutch.learner.value_head import ValueHead, classification_loss
from declutch.models.capabilities import capabilities, check_length

FLOOR = 0.1
"""The share of the learning rate that a schedule ends with."""
OPEN_ENDED_SHARE = 0.3
"""The share of the learning rate at which a training without a planned end goes on."""


@dataclass(frozen=True)
class Trainee:
    """What a cold start's SFT trains: a model, and a value head where labels are to be learned.

    Attributes:
        pad_id: the token that fills up shorter rows of a batch.
        head: learns the labels of labelled examples, at its own constant learning rate; None
            where there are none.
    """

    model: PreTrainedModel
    pad_id: int
    head: ValueHead | None = None


@dataclass(frozen=True)
class SFTProgress:
    """How far a cold start's SFT, its supervised training, has come.

    Attributes:
        step, num_steps: optimizer steps done, and planned (0 for a training without a planned end).
        epoch: passes over the data that have begun.
        loss: mean negative log-likelihood per response token (and label) of this step, in nats.
        first_loss: that of the first step.
        tokens: of prompts and responses, so far.
        seconds: since the start.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    tokens: int
    seconds: float
    first_loss: float = math.nan


def train_sft(
    trainee: Trainee,
    examples: Sequence[Example],
    config: SFTConfig,
    generator: torch.Generator,
    on_step: Callable[[SFTProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SFTProgress:
    """Train a cold start's model in place by SFT, on each supervised example `config.epochs` times.

    The learning rate warms up linearly, then falls to a tenth along a cosine.

    Args:
        generator: draws the order of the examples.
        on_step: told of every optimizer step.
        should_stop: makes the training one without a planned end, whatever `config.epochs` says:
            it goes on at a constant rate until this returns True, then for another tenth of its
            steps at a falling one.
    Returns:
        The last step's progress.
    Raises:
        UserError: an example is longer than the model, or nothing of it can be trained.
    """
    model, head = trainee.model, trainee.head
    _check_lengths(model, examples)
    passes = _passes(examples, config.batch_tokens, generator)
    rate: Callable[[int], float | None]
    num_steps = 0
    if should_stop is None:
        plan = list(islice(passes, config.epochs))
        num_steps = sum(len(batches) for batches in plan)
        rate, passes = _Cosine(num_steps, config.warmup_share), iter(plan)
    else:
        rate = _OpenEnded(should_stop)
    parameters = trained_parameters(model)
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=0.0, fused=True)
    started = time.perf_counter()
    progress = SFTProgress(0, num_steps, 0, math.nan, 0, 0.0)
    model.train()
    for step, (epoch, batch) in enumerate(_flatten(passes), start=1):
        factor = rate(step)
        if factor is None:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.lr * factor
        optimizer.zero_grad(set_to_none=True)
        loss = _differentiate(trainee, batch, config.micro_batch_tokens)
        torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()
        if head is not None:
            head.step(config.grad_clip)
        progress = SFTProgress(
            step=step,
            num_steps=num_steps,
            epoch=epoch + 1,
            loss=loss,
            tokens=progress.tokens + sum(e.num_tokens for e in batch),
            seconds=time.perf_counter() - started,
            first_loss=loss if step == 1 else progress.first_loss,
        )
        if on_step is not None:
            on_step(progress)
    model.eval()
    return progress


def _check_lengths(model: PreTrainedModel, examples: Sequence[Example]) -> None:
    longest = max((example.num_tokens for example in examples), default=0)
    check_length(model, longest)
    limit = capabilities(model).num_positions
    if limit is not None and longest > limit:
        count = sum(example.num_tokens > limit for example in examples)
        raise UserError(
            f"{count} of the {len(examples)} examples of the cold start are longer than the "
            f"{limit} positions of {type(model).__name__}, the longest with {longest} tokens; "
            "lower agent.history_length, or take a longer model"
        )


@dataclass(frozen=True)
class _Cosine:
    """The share of the learning rate at each of `num_steps` steps: a linear rise, then a cosine."""

    num_steps: int
    warmup: float

    def __call__(self, step: int) -> float | None:
        share = step / self.num_steps
        if share < self.warmup:
            return share / self.warmup
        rest = (share - self.warmup) / (1.0 - self.warmup)
        return FLOOR + (1.0 - FLOOR) / 2 * (1.0 + math.cos(math.pi * rest))


class _OpenEnded:
    """A constant share of the learning rate until told to stop, then a fall for a tenth as long.

    It is for a model that has been trained before. The share is about what a cosine has in its
    middle, and the fall takes the noise of that rate out of the weights again.
    """

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._stopped_at: int | None = None

    def __call__(self, step: int) -> float | None:
        if self._stopped_at is None:
            if not self._should_stop():
                return OPEN_ENDED_SHARE
            self._stopped_at = step
        length = max(1, self._stopped_at // 10)
        left = 1.0 - (step - self._stopped_at) / length
        if left <= 0:
            return None
        return OPEN_ENDED_SHARE * (FLOOR + (1.0 - FLOOR) * left)


def _differentiate(trainee: Trainee, batch: Sequence[Example], max_tokens: int) -> float:
    """Mean negative log-likelihood of the batch's response tokens and labels; adds its gradient.

    A label counts like one token, since a critique in words has one token for its verdict, too.

    Args:
        max_tokens: of one pass, padding included; a longer example is a pass of its own.
    """
    labels = 0 if trainee.head is None else sum(e.label is not None for e in batch)
    count = max(sum(e.response_ids.numel() for e in batch) + labels, 1)
    total = 0.0
    for part in _cut(batch, max_tokens):
        loss = _sum_losses(trainee, part, count)
        loss.backward()
        total += float(loss.detach())
    return total


def _sum_losses(trainee: Trainee, batch: Sequence[Example], count: int) -> Tensor:
    """The losses of one pass's response tokens and labels, summed and divided by `count`."""
    model, head = trainee.model, trainee.head
    shape = (len(batch), max(e.num_tokens for e in batch))
    input_ids = torch.full(shape, trainee.pad_id)
    targets = torch.full(shape, -100)
    for row, example in enumerate(batch):
        start, stop = example.prompt_ids.numel(), example.num_tokens
        input_ids[row, :start] = example.prompt_ids
        input_ids[row, start:stop] = example.response_ids
        targets[row, start:stop] = example.response_ids
    wanted = targets[:, 1:] != -100
    places, columns = wanted.to(model.device).nonzero(as_tuple=True)
    wanted_ids = targets[:, 1:][wanted].to(model.device)
    total, hidden = example_loss(model, input_ids.to(model.device), (places, columns), wanted_ids)
    rows = [row for row, example in enumerate(batch) if example.label is not None]
    if head is None or not rows:
        return total / count
    last = [batch[row].num_tokens - 1 for row in rows]
    labels = [example.label for example in batch if example.label is not None]
    verdicts = head.layer(hidden[rows, last].to(head.layer.weight.dtype))[:, 0]
    return total / count + classification_loss(verdicts, labels, count)


def _cut(examples: Sequence[Example], max_tokens: int) -> Iterator[list[Example]]:
    """Examples, the shorter ones first, cut where their padded tokens would be too many."""
    part: list[Example] = []
    for example in examples:
        if part and (len(part) + 1) * example.num_tokens > max_tokens:
            yield part
            part = []
        part.append(example)
    if part:
        yield part


def _batches(
    examples: Sequence[Example], batch_tokens: int, generator: torch.Generator
) -> list[list[Example]]:
    """Every example once, in batches of similar length in random order."""
    order = torch.randperm(len(examples), generator=generator).tolist()
    # Sorting within windows, not over all examples, keeps the padding small and batches random.
    batches: list[list[Example]] = []
    window = 4096
    for start in range(0, len(order), window):
        part = sorted(order[start : start + window], key=lambda i: examples[i].num_tokens)
        batches += _cut([examples[index] for index in part], batch_tokens)
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[i] for i in shuffled]


def _passes(
    examples: Sequence[Example], batch_tokens: int, generator: torch.Generator
) -> Iterator[list[list[Example]]]:
    """Passes over the examples without end, each in an order of its own."""
    while True:
        yield _batches(examples, batch_tokens, generator)


def _flatten(passes: Iterator[list[list[Example]]]) -> Iterator[tuple[int, list[Example]]]:
    for epoch, batches in enumerate(passes):
        for batch in batches:
            yield epoch, batch

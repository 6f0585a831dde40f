"""Supervised cold start: the expert's demonstrations, and labelled steps to judge."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from declutch.agent.prompt import PromptForm, View, build_view, render_agent, render_judge
from declutch.agent.prompt import response_prefix as prefix_of
from declutch.config import SFTConfig
from declutch.demos import DemoEpisode, DemoStep
from declutch.judge.critiques import critique_text
from declutch.rollout.speaker import Codec

T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """One supervised sample: i64[P] prompt, i64[T] response."""

    prompt_ids: Tensor
    response_ids: Tensor

    @property
    def num_tokens(self) -> int:
        return self.prompt_ids.numel() + self.response_ids.numel()


@dataclass(frozen=True)
class SFTProgress:
    """Where the cold start stands.

    Attributes:
        step, num_steps: optimizer steps done and planned.
        epoch: passes over the data begun.
        loss: mean negative log-likelihood per response token of this step, in nats.
        tokens: tokens processed so far.
        seconds: since the start.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    tokens: int
    seconds: float


def demo_view(demo: DemoEpisode, position: int) -> View:
    """What the agent knew at one step of a demonstration."""
    step = demo.steps[position]
    return build_view(
        [s.observation for s in demo.steps[: position + 1]],
        [s.action for s in demo.steps[:position]],
        step.inventory,
        step.admissible,
    )


def agent_text(form: PromptForm, step: DemoStep, action: str) -> str:
    """The whole response an agent would give to play `action` with the expert's reasoning."""
    if form == "compact":
        return f"<think>{step.short_thought}</think><action>{action}</action>"
    return f"<think>{step.thought}</think>\n<action>{action}</action>"


def agent_examples(
    demos: Sequence[DemoEpisode], codec: Codec, history_length: int
) -> list[Example]:
    """One example per step: what the expert would do there, whatever was played."""
    examples = []
    for demo in demos:
        for position, step in enumerate(demo.steps):
            prompt = render_agent(demo_view(demo, position), codec.form, history_length)
            response = agent_text(codec.form, step, step.expert_action)
            examples.append(_example(codec, prompt, response))
    return examples


def judge_examples(
    demos: Sequence[DemoEpisode],
    codec: Codec,
    history_length: int,
    count: int,
    generator: torch.Generator,
) -> list[Example]:
    """Judge examples, half good and half bad by the oracle, steps drawn at random.

    A good one shows the expert's action, a bad one a perturbed action that the oracle condemns.
    """
    good = [(d, p, True) for d, p, s in _steps(demos) if s.label_expert == 1]
    bad = [(d, p, False) for d, p, s in _steps(demos) if s.is_perturbed and s.label_played == 0]
    chosen = _draw(good, (count + 1) // 2, generator) + _draw(bad, count // 2, generator)
    examples = []
    for demo, position, is_good in chosen:
        step = demo.steps[position]
        problem = render_agent(demo_view(demo, position), codec.form, history_length)
        shown = step.expert_action if is_good else step.action
        prompt = render_judge(problem, agent_text(codec.form, step, shown), codec.form)
        answer = critique_text(
            codec.form, int(is_good), step.short_thought, step.expert_action, step.thought
        )
        examples.append(_example(codec, prompt, prefix_of(codec.form) + answer))
    return examples


def train_sft(
    model: PreTrainedModel,
    examples: Sequence[Example],
    config: SFTConfig,
    pad_id: int,
    generator: torch.Generator,
    on_step: Callable[[SFTProgress], None] | None = None,
) -> SFTProgress:
    """Train `model` in place on all examples, `config.epochs` times.

    The learning rate warms up linearly, then falls to a tenth along a cosine. With
    `config.max_seconds` the schedule follows the time instead, and the training ends with it.

    Returns:
        The last step's progress.
    """
    plan = [_batches(examples, config.batch_tokens, generator) for _ in range(config.epochs)]
    num_steps = sum(len(epoch) for epoch in plan)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.0)
    started = time.perf_counter()
    progress = SFTProgress(0, num_steps, 0, math.nan, 0, 0.0)
    model.train()
    for step, (epoch, batch) in enumerate(_flatten(plan), start=1):
        elapsed = time.perf_counter() - started
        if config.max_seconds is not None and elapsed >= config.max_seconds:
            break
        share = step / num_steps
        if config.max_seconds is not None:
            share = max(share, elapsed / config.max_seconds)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _schedule(share, config.warmup_share)
        loss = _loss(model, batch, pad_id)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        progress = SFTProgress(
            step=step,
            num_steps=num_steps,
            epoch=epoch + 1,
            loss=float(loss.detach()),
            tokens=progress.tokens + sum(e.num_tokens for e in batch),
            seconds=time.perf_counter() - started,
        )
        if on_step is not None:
            on_step(progress)
    model.eval()
    return progress


def _loss(model: PreTrainedModel, batch: Sequence[Example], pad_id: int) -> Tensor:
    """Mean negative log-likelihood of the batch's response tokens."""
    shape = (len(batch), max(e.num_tokens for e in batch))
    input_ids = torch.full(shape, pad_id)
    targets = torch.full(shape, -100)
    for row, example in enumerate(batch):
        start, stop = example.prompt_ids.numel(), example.num_tokens
        input_ids[row, :start] = example.prompt_ids
        input_ids[row, start:stop] = example.response_ids
        targets[row, start:stop] = example.response_ids
    # Right padding under causal attention needs no mask: no token attends to what follows it.
    device = model.device
    hidden = model.base_model(input_ids=input_ids.to(device), use_cache=False).last_hidden_state
    wanted = targets[:, 1:] != -100
    logits = model.get_output_embeddings()(hidden[:, :-1][wanted.to(device)]).float()
    return F.cross_entropy(logits, targets[:, 1:][wanted].to(device))


def _schedule(share: float, warmup: float) -> float:
    if share < warmup:
        return share / warmup
    rest = (min(share, 1.0) - warmup) / max(1.0 - warmup, 1e-9)
    return 0.1 + 0.45 * (1.0 + math.cos(math.pi * rest))


def _batches(
    examples: Sequence[Example], batch_tokens: int, generator: torch.Generator
) -> list[list[Example]]:
    """Batches of similar length in random order; every example once."""
    order = torch.randperm(len(examples), generator=generator).tolist()
    # Sorting windows, not the whole, keeps batches random and the padding small.
    batches: list[list[Example]] = []
    window = 4096
    for start in range(0, len(order), window):
        part = sorted(order[start : start + window], key=lambda i: examples[i].num_tokens)
        batch: list[Example] = []
        for index in part:
            example = examples[index]
            if batch and (len(batch) + 1) * example.num_tokens > batch_tokens:
                batches.append(batch)
                batch = []
            batch.append(example)
        batches.append(batch)
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[i] for i in shuffled]


def _flatten(plan: list[list[list[Example]]]) -> Iterator[tuple[int, list[Example]]]:
    for epoch, batches in enumerate(plan):
        for batch in batches:
            yield epoch, batch


def _steps(demos: Sequence[DemoEpisode]) -> Iterator[tuple[DemoEpisode, int, DemoStep]]:
    for demo in demos:
        for position, step in enumerate(demo.steps):
            yield demo, position, step


def _draw(pool: list[T], count: int, generator: torch.Generator) -> list[T]:
    return [pool[i] for i in torch.randperm(len(pool), generator=generator)[:count].tolist()]


def _example(codec: Codec, prompt: str, response: str) -> Example:
    """Tokens of a prompt and of what follows the part of the response it already holds."""
    tail = response.removeprefix(prefix_of(codec.form))
    ids = codec.tokenizer.encode(tail, add_special_tokens=False)
    if codec.form == "full" and codec.tokenizer.eos_token_id is not None:
        ids = [*ids, codec.tokenizer.eos_token_id]
    return Example(codec.encode_prompt(prompt), torch.tensor(ids, dtype=torch.long))

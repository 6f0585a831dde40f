"""Supervised cold start: the expert's demonstrations, and steps to judge or to foretell."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from declutch.agent.prompt import View, observation_text, render_agent, render_future, render_judge
from declutch.agent.prompt import response_prefix as prefix_of
from declutch.agent.wording import Wording
from declutch.config import JudgePrompt, SFTConfig
from declutch.demo_views import agent_text, demo_views, reasoning_tags
from declutch.demos import DemoEpisode, DemoStep
from declutch.judge.critiques import critique_text, critique_vocabulary, prediction_text
from declutch.learner.value_head import ValueHead, classification_loss
from declutch.rollout.speaker import Codec
from declutch.written import Critic

T = TypeVar("T")

FLOOR = 0.1
"""Share of the learning rate that a schedule ends with."""
OPEN_ENDED_SHARE = 0.3
MAX_RULES = 5


@dataclass(frozen=True)
class Example:
    """One supervised sample: i64[P] prompt, i64[T] response.

    Where it has a label (1 good, 0 bad) there is no response: a value head is to find the label.
    """

    prompt_ids: Tensor
    response_ids: Tensor
    label: int | None = None

    @property
    def num_tokens(self) -> int:
        return self.prompt_ids.numel() + self.response_ids.numel()


@dataclass(frozen=True)
class SFTProgress:
    """Where the cold start stands.

    Attributes:
        step, num_steps: optimizer steps done and planned (0 when open-ended).
        epoch: passes over the data begun.
        loss: mean negative log-likelihood per response token (and label) of this step, in nats.
        tokens: tokens processed so far.
        seconds: since the start.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    tokens: int
    seconds: float


def agent_examples(
    demos: Sequence[DemoEpisode],
    codec: Codec,
    history_length: int,
    guided_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[Example]:
    """One example per step: what the expert would do there, whatever was played.

    Args:
        guided_share: of the demonstrations show one to `MAX_RULES` rules at every step, drawn from
            the templates' advice by `generator`.
    """
    examples = []
    for demo in demos:
        rules = _draw_rules(guided_share, generator, codec.wording) if generator else ()
        views = demo_views(demo, codec.form, codec.reasoning)
        tags = reasoning_tags(demo, codec.reasoning)
        for view, step, tag in zip(views, demo.steps, tags, strict=True):
            prompt = _agent_prompt(replace(view, guidelines=rules), codec, history_length)
            response = agent_text(codec.form, step, step.expert_action, tag)
            examples.append(_example(codec, prompt, response))
    return examples


def judge_examples(
    demos: Sequence[DemoEpisode],
    codec: Codec,
    history_length: int,
    count: int,
    generator: torch.Generator,
    judge_prompt: JudgePrompt = "gc",
    critic: Critic | None = None,
) -> list[Example]:
    """Judge examples, half good and half bad by the oracle, steps drawn at random.

    A good one shows the expert's action, a bad one another command that the oracle condemns.

    Args:
        critic: words the answers where it can; None leaves all to the templates.
    Returns:
        `count` examples, or as many as keep the balance.
    """
    form, examples = codec.form, []
    chosen = _labelled_steps(demos, count, generator)
    questions = [
        (_judge_prompt(d, p, shown, codec, history_length, judge_prompt), verdict)
        for d, p, verdict, shown in chosen
    ]
    written = critic.write(questions) if critic is not None else [None] * len(questions)
    for (demo, position, *_), (prompt, verdict), text in zip(
        chosen, questions, written, strict=True
    ):
        step = demo.steps[position]
        words = (step.short_thought, step.expert_action, step.thought)
        answer = text or critique_text(form, verdict, *words, judge_prompt, codec.wording)
        examples.append(_example(codec, prompt, prefix_of(form) + answer))
    return examples


def value_examples(
    demos: Sequence[DemoEpisode],
    codec: Codec,
    history_length: int,
    count: int,
    generator: torch.Generator,
    judge_prompt: JudgePrompt = "gc",
) -> list[Example]:
    """As `judge_examples`, for a value head: the same prompts, with the label alone."""
    examples = []
    for demo, position, verdict, shown in _labelled_steps(demos, count, generator):
        prompt = _judge_prompt(demo, position, shown, codec, history_length, judge_prompt)
        nothing = torch.zeros(0, dtype=torch.long)
        examples.append(Example(codec.encode_prompt(prompt), nothing, verdict))
    return examples


def future_examples(
    demos: Sequence[DemoEpisode],
    codec: Codec,
    history_length: int,
    count: int,
    generator: torch.Generator,
) -> list[Example]:
    """Steps drawn at random, what was played there, and the observation that followed.

    Returns:
        `count` examples, or one for every step there is.
    """
    form, examples = codec.form, []
    for demo, position, step in _draw(list(_steps(demos)), count, generator):
        later = [s.observation for s in demo.steps[1:]]
        followed = [*later, demo.final_observation][position]
        played = _played(demo, position, step.action, codec, history_length)
        prompt = render_future(*played, form, codec.wording)
        seen = observation_text(followed, form, codec.wording)
        answer = prediction_text(form, step.action, seen, codec.wording)
        examples.append(_example(codec, prompt, prefix_of(form) + answer))
    return examples


def train_sft(
    model: PreTrainedModel,
    examples: Sequence[Example],
    config: SFTConfig,
    pad_id: int,
    generator: torch.Generator,
    on_step: Callable[[SFTProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    head: ValueHead | None = None,
) -> SFTProgress:
    """Train `model` in place on all examples, `config.epochs` times.

    The learning rate warms up linearly, then falls to a tenth along a cosine.

    Args:
        should_stop: makes the training open-ended instead: it goes on until this says so, see
            `_OpenEnded`; `config.epochs` is not used.
        head: learns the labels of labelled examples, at its own constant learning rate.
    Returns:
        The last step's progress.
    """
    passes = _passes(examples, config.batch_tokens, generator)
    rate: Callable[[int], float | None]
    num_steps = 0
    if should_stop is None:
        plan = list(islice(passes, config.epochs))
        num_steps = sum(len(batches) for batches in plan)
        rate, passes = _Cosine(num_steps, config.warmup_share), iter(plan)
    else:
        rate = _OpenEnded(should_stop)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.0, fused=True)
    started = time.perf_counter()
    progress = SFTProgress(0, num_steps, 0, math.nan, 0, 0.0)
    model.train()
    for step, (epoch, batch) in enumerate(_flatten(passes), start=1):
        factor = rate(step)
        if factor is None:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.lr * factor
        loss = _loss(model, batch, pad_id, head)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        if head is not None:
            head.step(config.grad_clip)
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


@dataclass(frozen=True)
class _Cosine:
    """Share of the learning rate at each of `num_steps` steps: linear rise, then a cosine."""

    num_steps: int
    warmup: float

    def __call__(self, step: int) -> float | None:
        share = step / self.num_steps
        if share < self.warmup:
            return share / self.warmup
        rest = (share - self.warmup) / (1.0 - self.warmup)
        return FLOOR + (1.0 - FLOOR) / 2 * (1.0 + math.cos(math.pi * rest))


class _OpenEnded:
    """A constant share until told to stop, then a linear fall over another tenth of the steps.

    The model has been trained before: the share is what a cosine has in its middle, and the fall
    takes the noise of that rate out again.
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


def _loss(
    model: PreTrainedModel, batch: Sequence[Example], pad_id: int, head: ValueHead | None
) -> Tensor:
    """Mean negative log-likelihood of the batch's response tokens and labels.

    A label counts like one token: a critique in words has one token for its verdict too.
    """
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
    wanted_ids = targets[:, 1:][wanted].to(device)
    rows = [row for row, example in enumerate(batch) if example.label is not None]
    if head is None or not rows:
        return F.cross_entropy(logits, wanted_ids)
    last = [batch[row].num_tokens - 1 for row in rows]
    labels = [example.label for example in batch if example.label is not None]
    total = F.cross_entropy(logits, wanted_ids, reduction="sum")
    verdicts = head.layer(hidden[rows, last].to(head.layer.weight.dtype))[:, 0]
    count = wanted_ids.numel() + len(labels)
    return total / count + classification_loss(verdicts, labels, count)


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


def _passes(
    examples: Sequence[Example], batch_tokens: int, generator: torch.Generator
) -> Iterator[list[list[Example]]]:
    """Passes over the data without end, each in an order of its own."""
    while True:
        yield _batches(examples, batch_tokens, generator)


def _flatten(passes: Iterator[list[list[Example]]]) -> Iterator[tuple[int, list[Example]]]:
    for epoch, batches in enumerate(passes):
        for batch in batches:
            yield epoch, batch


def _labelled_steps(
    demos: Sequence[DemoEpisode], count: int, generator: torch.Generator
) -> list[tuple[DemoEpisode, int, int, str]]:
    """(demonstration, position, label, shown action), as many good as bad."""
    steps = list(_steps(demos))
    good = [(d, p, 1, s.expert_action) for d, p, s in steps if s.label_expert == 1]
    bad = [
        (d, p, 0, s.other_action)
        for d, p, s in steps
        if s.other_action is not None and s.label_other == 0
    ]
    half = min(count // 2, len(good), len(bad))
    return [*_draw(good, half, generator), *_draw(bad, half, generator)]


def _agent_prompt(view: View, codec: Codec, history_length: int) -> str:
    return render_agent(view, codec.form, history_length, codec.reasoning, codec.wording)


def _judge_prompt(
    demo: DemoEpisode,
    position: int,
    action: str,
    codec: Codec,
    history_length: int,
    judge_prompt: JudgePrompt,
) -> str:
    played = _played(demo, position, action, codec, history_length)
    return render_judge(*played, codec.form, codec.wording, judge_prompt)


def _played(
    demo: DemoEpisode, position: int, action: str, codec: Codec, history_length: int
) -> tuple[str, str]:
    """The agent's prompt at a step, and the whole response that plays `action` there."""
    view = demo_views(demo, codec.form, codec.reasoning)[position]
    tag = reasoning_tags(demo, codec.reasoning)[position]
    problem = _agent_prompt(view, codec, history_length)
    return problem, agent_text(codec.form, demo.steps[position], action, tag)


def _steps(demos: Sequence[DemoEpisode]) -> Iterator[tuple[DemoEpisode, int, DemoStep]]:
    for demo in demos:
        for position, step in enumerate(demo.steps):
            yield demo, position, step


def _draw(pool: list[T], count: int, generator: torch.Generator) -> list[T]:
    return [pool[i] for i in torch.randperm(len(pool), generator=generator)[:count].tolist()]


def _draw_rules(share: float, generator: torch.Generator, wording: Wording) -> tuple[str, ...]:
    if float(torch.rand((), generator=generator)) >= share:
        return ()
    count = 1 + int(torch.randint(MAX_RULES, (), generator=generator))
    return tuple(_draw(list(critique_vocabulary(wording)), count, generator))


def _example(codec: Codec, prompt: str, response: str) -> Example:
    """Tokens of a prompt and of what follows the part of the response it already holds."""
    tail = response.removeprefix(prefix_of(codec.form))
    ids = codec.tokenizer.encode(tail, add_special_tokens=False)
    if codec.form == "full" and codec.tokenizer.eos_token_id is not None:
        ids = [*ids, codec.tokenizer.eos_token_id]
    return Example(codec.encode_prompt(prompt), torch.tensor(ids, dtype=torch.long))

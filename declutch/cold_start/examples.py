"""Supervised examples made of demonstrations: to act, to judge, to predict, to classify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from declutch.agent.codec import Codec
from declutch.agent.prompt import View, observation_text, render_agent, render_future, render_judge
from declutch.agent.prompt import response_prefix as prefix_of
from declutch.cold_start.demonstrations import Demonstration, DemonstrationStep
from declutch.cold_start.endpoint_texts import CritiqueWriter
from declutch.cold_start.template_texts import critique_text, critique_vocabulary, prediction_text
from declutch.cold_start.views import agent_text, demonstration_views, reasoning_tags
from declutch.config.section import JudgePrompt
from declutch.envs.wording import Wording

T = TypeVar("T")


MAX_SUGGESTIONS = 5
"""How many suggestions a demonstration's prompts show at most."""


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


def agent_examples(
    demonstrations: Sequence[Demonstration],
    codec: Codec,
    history_length: int,
    suggestion_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[Example]:
    """One example per step: what the expert would do there, whatever was played.

    Args:
        suggestion_share: this share of the demonstrations show one to `MAX_SUGGESTIONS`
            suggestions at every step, drawn from the templates' advice by `generator`.
    """
    examples = []
    for demo in demonstrations:
        suggestions = (
            _draw_suggestions(suggestion_share, generator, codec.wording) if generator else ()
        )
        views = demonstration_views(demo, codec.form, codec.wording, codec.reasoning)
        tags = reasoning_tags(demo, codec.wording, codec.reasoning)
        for view, step, tag in zip(views, demo.steps, tags, strict=True):
            prompt = _agent_prompt(replace(view, suggestions=suggestions), codec, history_length)
            response = agent_text(codec.form, step, step.expert_action, tag)
            examples.append(_example(codec, prompt, response))
    return examples


def judge_examples(
    demonstrations: Sequence[Demonstration],
    codec: Codec,
    history_length: int,
    count: int,
    generator: torch.Generator,
    judge_prompt: JudgePrompt = "gc",
    critique_writer: CritiqueWriter | None = None,
) -> list[Example]:
    """Judge examples, half good and half bad by the oracle, steps drawn at random.

    A good one shows the expert's action, a bad one another command that the oracle condemns.

    Args:
        critique_writer: words the answers where it can; None leaves all to the templates.
    Returns:
        `count` examples, or as many as keep the balance.
    """
    form, examples = codec.form, []
    chosen = _labelled_steps(demonstrations, count, generator)
    questions = [
        (_judge_prompt(d, p, shown, codec, history_length, judge_prompt), verdict)
        for d, p, verdict, shown in chosen
    ]
    written = (
        critique_writer.write(questions) if critique_writer is not None else [None] * len(questions)
    )
    for (demo, position, *_), (prompt, verdict), text in zip(
        chosen, questions, written, strict=True
    ):
        step = demo.steps[position]
        words = (step.short_thought, step.expert_action, step.thought)
        answer = text or critique_text(form, verdict, *words, codec.wording, judge_prompt)
        examples.append(_example(codec, prompt, prefix_of(form) + answer))
    return examples


def value_examples(
    demonstrations: Sequence[Demonstration],
    codec: Codec,
    history_length: int,
    count: int,
    generator: torch.Generator,
    judge_prompt: JudgePrompt = "gc",
) -> list[Example]:
    """As `judge_examples`, for a value head: the same prompts, with the label alone."""
    examples = []
    for demo, position, verdict, shown in _labelled_steps(demonstrations, count, generator):
        prompt = _judge_prompt(demo, position, shown, codec, history_length, judge_prompt)
        nothing = torch.zeros(0, dtype=torch.long)
        examples.append(Example(codec.encode_prompt(prompt), nothing, verdict))
    return examples


def future_examples(
    demonstrations: Sequence[Demonstration],
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
    for demo, position, step in _draw(list(_steps(demonstrations)), count, generator):
        later = [s.observation for s in demo.steps[1:]]
        followed = [*later, demo.final_observation][position]
        played = _played(demo, position, step.action, codec, history_length)
        prompt = render_future(*played, form, codec.wording)
        seen = observation_text(followed, form, codec.wording)
        answer = prediction_text(form, step.action, seen, codec.wording)
        examples.append(_example(codec, prompt, prefix_of(form) + answer))
    return examples


def _labelled_steps(
    demonstrations: Sequence[Demonstration], count: int, generator: torch.Generator
) -> list[tuple[Demonstration, int, int, str]]:
    """(demonstration, position, label, shown action), as many good as bad."""
    steps = list(_steps(demonstrations))
    good = [(d, p, 1, s.expert_action) for d, p, s in steps if s.label_expert == 1]
    bad = [
        (d, p, 0, s.other_action)
        for d, p, s in steps
        if s.other_action is not None and s.label_other == 0
    ]
    half = min(count // 2, len(good), len(bad))
    return [*_draw(good, half, generator), *_draw(bad, half, generator)]


def _agent_prompt(view: View, codec: Codec, history_length: int) -> str:
    return render_agent(view, codec.form, history_length, codec.wording, codec.reasoning)


def _judge_prompt(
    demo: Demonstration,
    position: int,
    action: str,
    codec: Codec,
    history_length: int,
    judge_prompt: JudgePrompt,
) -> str:
    played = _played(demo, position, action, codec, history_length)
    return render_judge(*played, codec.form, codec.wording, judge_prompt)


def _played(
    demo: Demonstration, position: int, action: str, codec: Codec, history_length: int
) -> tuple[str, str]:
    """The agent's prompt at a step, and the whole response that plays `action` there."""
    view = demonstration_views(demo, codec.form, codec.wording, codec.reasoning)[position]
    tag = reasoning_tags(demo, codec.wording, codec.reasoning)[position]
    problem = _agent_prompt(view, codec, history_length)
    return problem, agent_text(codec.form, demo.steps[position], action, tag)


def _steps(
    demonstrations: Sequence[Demonstration],
) -> Iterator[tuple[Demonstration, int, DemonstrationStep]]:
    for demo in demonstrations:
        for position, step in enumerate(demo.steps):
            yield demo, position, step


def _draw(pool: list[T], count: int, generator: torch.Generator) -> list[T]:
    return [pool[i] for i in torch.randperm(len(pool), generator=generator)[:count].tolist()]


def _draw_suggestions(
    share: float, generator: torch.Generator, wording: Wording
) -> tuple[str, ...]:
    if float(torch.rand((), generator=generator)) >= share:
        return ()
    count = 1 + int(torch.randint(MAX_SUGGESTIONS, (), generator=generator))
    return tuple(_draw(list(critique_vocabulary(wording)), count, generator))


def _example(codec: Codec, prompt: str, response: str) -> Example:
    """Tokens of a prompt and of what follows the part of the response it already holds."""
    tail = response.removeprefix(prefix_of(codec.form))
    ids = codec.tokenizer.encode(tail, add_special_tokens=False)
    if codec.form == "full" and codec.tokenizer.eos_token_id is not None:
        ids = [*ids, codec.tokenizer.eos_token_id]
    return Example(codec.encode_prompt(prompt), torch.tensor(ids, dtype=torch.long))

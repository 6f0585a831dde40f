"""Supervised examples of a cold start: a prompt, and the response or the label to be learned.

The files beside this one make them out of demonstrations: `agent_examples` to act, `judge_examples`
to judge and to classify, `prediction_examples` to predict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from declutch.agent.codec import Codec
from declutch.agent.prompt import View, render_agent, response_prefix
from declutch.cold_start.demonstrations import Demonstration, DemonstrationStep
from declutch.cold_start.views import build_views, tag_reasoning, write_response
from declutch.config.section import JudgePrompt

T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """A supervised example of a cold start, of any kind: i64[P] prompt, i64[T] response.

    Attributes:
        label: 1 good, 0 bad, for a value head to find; the response is then empty.
    """

    prompt_ids: Tensor
    response_ids: Tensor
    label: int | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and the response together."""
        return self.prompt_ids.numel() + self.response_ids.numel()


@dataclass(frozen=True)
class PromptStyle:
    """How the prompts of a cold start's examples, of every kind, are made.

    Attributes:
        codec: the form of prompts, the suite's words, and the tokenizer.
        history_length: how much of the past a prompt shows.
        judge_prompt: which paper's question a judge is asked.
    """

    codec: Codec
    history_length: int
    judge_prompt: JudgePrompt = "gc"


def encode_example(codec: Codec, prompt: str, response: str) -> Example:
    """Encode a cold start's `Example`: a prompt, and the rest of the response after it."""
    tail = response.removeprefix(response_prefix(codec.form))
    opening = codec.turns.opening
    if opening:
        # The template's line break is in the prompt already.
        tail = tail.removeprefix(opening.rstrip())
        tail = tail.lstrip() if opening != opening.rstrip() else tail
    ids = codec.tokenizer.encode(tail, add_special_tokens=False)
    if codec.form == "full" and codec.turns.closing_id is not None:
        ids = [*ids, codec.turns.closing_id]
    return Example(codec.encode_prompt(prompt), torch.tensor(ids, dtype=torch.long))


def render_view(view: View, style: PromptStyle) -> str:
    """Make the prompt of an example to train on, whatever its kind, from a demonstration's step."""
    codec = style.codec
    return render_agent(view, codec.form, style.history_length, codec.wording, codec.reasoning)


def render_played(
    demo: Demonstration, position: int, action: str, style: PromptStyle
) -> tuple[str, str]:
    """Render what several kinds of examples quote: the prompt at a step and a response to it."""
    codec = style.codec
    view = build_views(demo, codec.form, codec.wording, codec.reasoning)[position]
    tag = tag_reasoning(demo.steps, codec.wording, codec.reasoning)[position]
    return render_view(view, style), write_response(codec.form, demo.steps[position], action, tag)


def iterate_steps(
    demonstrations: Sequence[Demonstration],
) -> Iterator[tuple[Demonstration, int, DemonstrationStep]]:
    """Iterate over the steps to make cold start examples of, each with its episode and position."""
    for demo in demonstrations:
        for position, step in enumerate(demo.steps):
            yield demo, position, step


def draw_items(pool: Sequence[T], count: int, generator: torch.Generator) -> list[T]:
    """Draw `count` items at random to make examples of, or all where they are fewer."""
    return [pool[i] for i in torch.randperm(len(pool), generator=generator)[:count].tolist()]

"""Make examples that teach a model to judge steps in words, or a value head to classify them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from declutch.agent.prompt import render_judge, response_prefix
from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.endpoint_texts import CritiqueWriter
from declutch.cold_start.examples import (
    Example,
    PromptStyle,
    draw_items,
    encode_example,
    iterate_steps,
    render_played,
)
from declutch.cold_start.template_texts import write_critique


def build_judge_examples(
    demonstrations: Sequence[Demonstration],
    style: PromptStyle,
    count: int,
    generator: torch.Generator,
    critique_writer: CritiqueWriter | None = None,
) -> list[Example]:
    """Build the judge's cold start examples: judging in words, half of steps good, half bad.

    The oracle tells good from bad, and the steps are drawn at random.
    A good one shows the expert's action, a bad one another command that the oracle condemns.

    Args:
        critique_writer: words the answers where it can; None leaves all of them to the templates.
    Returns:
        `count` examples, or as many as keep the balance.
    """
    codec, examples = style.codec, []
    chosen = _draw_labelled(demonstrations, count, generator)
    questions = [(_render_question(d, p, shown, style), label) for d, p, label, shown in chosen]
    written = critique_writer.write(questions) if critique_writer else [None] * len(questions)
    for (demo, position, *_), (prompt, label), text in zip(chosen, questions, written, strict=True):
        answer = text or write_critique(
            demo.steps[position], label, codec.form, codec.wording, style.judge_prompt
        )
        examples.append(encode_example(codec, prompt, response_prefix(codec.form) + answer))
    return examples


def build_value_examples(
    demonstrations: Sequence[Demonstration],
    style: PromptStyle,
    count: int,
    generator: torch.Generator,
) -> list[Example]:
    """Build the judge's cold start examples for a value head: its prompts with labels alone."""
    examples = []
    for demo, position, label, shown in _draw_labelled(demonstrations, count, generator):
        prompt = style.codec.encode_prompt(_render_question(demo, position, shown, style))
        examples.append(Example(prompt, torch.zeros(0, dtype=torch.long), label))
    return examples


def _draw_labelled(
    demonstrations: Sequence[Demonstration], count: int, generator: torch.Generator
) -> list[tuple[Demonstration, int, int, str]]:
    """(demonstration, position, label, shown action), as many good as bad."""
    steps = list(iterate_steps(demonstrations))
    good = [(d, p, 1, s.expert_action) for d, p, s in steps if s.label_expert == 1]
    bad = [
        (d, p, 0, s.other_action)
        for d, p, s in steps
        if s.other_action is not None and s.label_other == 0
    ]
    half = min(count // 2, len(good), len(bad))
    return [*draw_items(good, half, generator), *draw_items(bad, half, generator)]


def _render_question(demo: Demonstration, position: int, action: str, style: PromptStyle) -> str:
    codec = style.codec
    prompt, response = render_played(demo, position, action, style)
    return render_judge(prompt, response, codec.form, codec.wording, style.judge_prompt)

"""Make examples that teach a model to act as the expert does in demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.examples import (
    Example,
    PromptStyle,
    draw_items,
    encode_example,
    render_view,
)
from declutch.cold_start.template_texts import list_advice
from declutch.cold_start.views import build_views, tag_reasoning, write_response
from declutch.envs.wording import Wording

MAX_SUGGESTIONS = 5
"""How many suggestions a demonstration's prompts show at most."""


def build_agent_examples(
    demonstrations: Sequence[Demonstration],
    style: PromptStyle,
    suggestion_share: float,
    generator: torch.Generator,
) -> list[Example]:
    """Build the agent's cold start examples: at each step what the expert would do.

    It is the expert's action that is learned, whatever was played.

    Args:
        suggestion_share: this share of the demonstrations show one to `MAX_SUGGESTIONS` suggestions
            at every step, drawn from the templates' advice by `generator`.
    """
    codec, examples = style.codec, []
    for demo in demonstrations:
        suggestions = _draw_suggestions(suggestion_share, generator, codec.wording)
        views = build_views(demo, codec.form, codec.wording, codec.reasoning)
        tags = tag_reasoning(demo.steps, codec.wording, codec.reasoning)
        for view, step, tag in zip(views, demo.steps, tags, strict=True):
            prompt = render_view(replace(view, suggestions=suggestions), style)
            response = write_response(codec.form, step, step.expert_action, tag)
            examples.append(encode_example(codec, prompt, response))
    return examples


def _draw_suggestions(
    share: float, generator: torch.Generator, wording: Wording
) -> tuple[str, ...]:
    if float(torch.rand((), generator=generator)) >= share:
        return ()
    count = 1 + int(torch.randint(MAX_SUGGESTIONS, (), generator=generator))
    return tuple(draw_items(list_advice(wording), count, generator))

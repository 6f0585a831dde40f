"""Make examples that teach a model to predict the observation that its action leads to."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from declutch.agent.prompt import observation_text, render_prediction, response_prefix
from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.examples import (
    Example,
    PromptStyle,
    draw_items,
    encode_example,
    iterate_steps,
    render_played,
)
from declutch.cold_start.template_texts import write_prediction


def build_prediction_examples(
    demonstrations: Sequence[Demonstration],
    style: PromptStyle,
    count: int,
    generator: torch.Generator,
) -> list[Example]:
    """Build cold start examples of prediction: of what followed an action that was played.

    The steps are drawn at random.

    Returns:
        `count` examples, or one for every step there is.
    """
    codec, examples = style.codec, []
    for demo, position, step in draw_items(list(iterate_steps(demonstrations)), count, generator):
        later = [s.observation for s in demo.steps[1:]]
        followed = [*later, demo.final_observation][position]
        played = render_played(demo, position, step.action, style)
        prompt = render_prediction(*played, codec.form, codec.wording)
        seen = observation_text(followed, codec.form, codec.wording)
        answer = write_prediction(codec.form, step.action, seen, codec.wording)
        examples.append(encode_example(codec, prompt, response_prefix(codec.form) + answer))
    return examples

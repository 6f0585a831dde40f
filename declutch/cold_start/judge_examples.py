"""Make examples that teach a model to judge steps in words, or a value head to classify them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from declutch.agent.prompt import render_judge, response_prefix
from declutch.agent.rule import label_steps
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
from declutch.envs.wording import Wording

Labelled = tuple[Demonstration, int, int, str]
"""A demonstration, the position of a step in it, a label, and the action that it is of."""


def build_judge_examples(
    demonstrations: Sequence[Demonstration],
    style: PromptStyle,
    count: int,
    generator: torch.Generator,
    critique_writer: CritiqueWriter | None = None,
) -> list[Example]:
    """Build the judge's cold start examples: judging in words, half of steps good, half bad.

    Who tells good from bad is said by `name_labels`; the steps are drawn at random. Under the
    oracle a good one shows the expert's action, a bad one another command that the oracle
    condemns. Under the rule both show what was played.

    Args:
        critique_writer: words the answers where it can; None leaves all of them to the templates.
    Returns:
        `count` examples, or as many as keep the balance.
    """
    codec, examples = style.codec, []
    chosen = _draw_labelled(demonstrations, count, generator, style.codec.wording)
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
    wording = style.codec.wording
    for demo, position, label, shown in _draw_labelled(demonstrations, count, generator, wording):
        prompt = style.codec.encode_prompt(_render_question(demo, position, shown, style))
        examples.append(Example(prompt, torch.zeros(0, dtype=torch.long), label))
    return examples


def name_labels(demonstrations: Sequence[Demonstration]) -> str:
    """Name who labels the judge's cold start examples: "oracle", or the papers' "rule".

    The oracle labels where it labelled any step of the demonstrations. The rule needs no more than
    the demonstrations themselves.
    """
    is_labelled = any(
        step.label_expert is not None or step.label_other is not None
        for _, _, step in iterate_steps(demonstrations)
    )
    return "oracle" if is_labelled else "rule"


def why_no_labels(demonstrations: Sequence[Demonstration], wording: Wording) -> str:
    """Say why no step can be an example of the judge's, and the remedy; "" where some can."""
    good, bad = _list_labelled(demonstrations, wording)
    if good and bad:
        return ""
    if name_labels(demonstrations) == "oracle":
        return (
            f"the oracle calls {len(good)} steps of the demonstrations good and {len(bad)} other "
            "commands bad, and half of the judge's samples are of either kind; set sft.label_every "
            "to 1, or let label_action say 0 and 1"
        )
    if not bad:
        return (
            "the environment has no oracle (label_action), and the rule calls a step bad that "
            "leads back to where it was taken, which no step at random in the demonstrations does; "
            "set sft.perturb=0.2, or give the environment a label_action(action)"
        )
    return (
        "the environment has no oracle (label_action), and the rule calls a step good that wins, "
        "but no demonstration is won; raise env.max_steps, or mend the expert"
    )


def _draw_labelled(
    demonstrations: Sequence[Demonstration],
    count: int,
    generator: torch.Generator,
    wording: Wording,
) -> list[Labelled]:
    """As many good as bad."""
    good, bad = _list_labelled(demonstrations, wording)
    half = min(count // 2, len(good), len(bad))
    return [*draw_items(good, half, generator), *draw_items(bad, half, generator)]


def _list_labelled(
    demonstrations: Sequence[Demonstration], wording: Wording
) -> tuple[list[Labelled], list[Labelled]]:
    """The good and the bad ones."""
    if name_labels(demonstrations) == "rule":
        return _list_by_rule(demonstrations, wording)
    steps = list(iterate_steps(demonstrations))
    good = [(d, p, 1, s.expert_action) for d, p, s in steps if s.label_expert == 1]
    bad = [
        (d, p, 0, s.other_action)
        for d, p, s in steps
        if s.other_action is not None and s.label_other == 0
    ]
    return good, bad


def _list_by_rule(
    demonstrations: Sequence[Demonstration], wording: Wording
) -> tuple[list[Labelled], list[Labelled]]:
    """What the rule labels. What the expert itself chose is not bad for being undone later, and
    what it did not choose is not good for winning by chance."""
    good: list[Labelled] = []
    bad: list[Labelled] = []
    for demo in demonstrations:
        seen = [(step.observation, step.inventory) for step in demo.steps]
        labels = label_steps(seen, demo.won, wording)
        for position, (step, label) in enumerate(zip(demo.steps, labels, strict=True)):
            if label == 1 and not step.is_perturbed:
                good.append((demo, position, 1, step.action))
            elif label == 0 and step.is_perturbed:
                bad.append((demo, position, 0, step.action))
    return good, bad


def _render_question(demo: Demonstration, position: int, action: str, style: PromptStyle) -> str:
    codec = style.codec
    prompt, response = render_played(demo, position, action, style)
    return render_judge(prompt, response, codec.form, codec.wording, style.judge_prompt)

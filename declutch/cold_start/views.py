"""Demonstrations as the agent would have seen them, and the responses it would have given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from declutch.agent.parse import parse_response
from declutch.agent.prompt import PromptForm, View, build_view
from declutch.cold_start.demonstrations import Demonstration, DemonstrationStep
from declutch.config.section import Reasoning
from declutch.envs.wording import Wording


def build_views(
    demo: Demonstration, form: PromptForm, wording: Wording, reasoning: Reasoning = "think"
) -> tuple[View, ...]:
    """Build the agent's views of a demonstration: what it would have known at each step.

    Its own earlier answers are those that lead to what was played.
    """
    steps = demo.steps
    observations = [step.observation for step in steps]
    actions = [step.action for step in steps]
    answers = [
        parse_response(write_response(form, step, step.action, tag), step.admissible, reasoning)
        for step, tag in zip(steps, tag_reasoning(steps, wording, reasoning), strict=True)
    ]
    return tuple(
        build_view(
            observations[: position + 1],
            actions[:position],
            step.inventory,
            step.admissible,
            answers=answers[:position],
        )
        for position, step in enumerate(steps)
    )


def write_response(form: PromptForm, step: DemonstrationStep, action: str, tag: str) -> str:
    """Write the response for one of a demonstration's views: reasoning, then `action`."""
    if form == "compact":
        return f"<{tag}>{step.short_thought}</{tag}><action>{action}</action>"
    return f"<{tag}>{step.thought}</{tag}>\n<action>{action}</action>"


def tag_reasoning(
    steps: Sequence[DemonstrationStep], wording: Wording, reasoning: Reasoning
) -> tuple[str, ...]:
    """Name the tag of the expert's reasoning for the view at each demonstration step.

    Under "think" it is the same everywhere. Under "meta" it is the way of reasoning, one of
    `META_TAGS`, that the expert shows: it plans at the first step and where its reasoning enters a
    new phase, reflects after an action that did nothing, explores while it searches, and monitors
    otherwise. What comes after a failure is a reflection even where it enters a new phase.
    """
    if reasoning == "think":
        return ("think",) * len(steps)
    tags = ["planning"] if steps else []
    for before, step in pairwise(steps):
        if _did_nothing(before, step, wording):
            tags.append("reflection")
        elif _phase(step) != _phase(before):
            tags.append("planning")
        else:
            tags.append("explore" if _phase(step) == "find" else "monitor")
    return tuple(tags)


def _did_nothing(step: DemonstrationStep, after: DemonstrationStep, wording: Wording) -> bool:
    """Whether the action was unavailable, had no effect, or was a detour that left all as it was.

    That nothing visible changed counts only against a random action: one of the expert's own may
    change what cannot be seen here, as heating leaves the same commands possible.
    """
    is_unchanged = (step.inventory, step.admissible) == (after.inventory, after.admissible)
    return (
        step.action not in step.admissible
        or wording.is_refusal(after.observation)
        or (step.is_perturbed and is_unchanged)
    )


def _phase(step: DemonstrationStep) -> str:
    return step.short_thought.split(" ", 1)[0]

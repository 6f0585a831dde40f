"""Demonstrations as the agent would have seen and answered them."""

from __future__ import annotations

from itertools import pairwise

from declutch.agent.parse import parse_response
from declutch.agent.prompt import PromptForm, View, build_view
from declutch.cold_start.demonstrations import Demonstration, DemonstrationStep
from declutch.config.section import Reasoning
from declutch.envs.wording import Wording


def demonstration_views(
    demo: Demonstration, form: PromptForm, wording: Wording, reasoning: Reasoning = "think"
) -> tuple[View, ...]:
    """What the agent knew at each step; its own answers are those that lead to what was played."""
    steps = demo.steps
    observations = [step.observation for step in steps]
    actions = [step.action for step in steps]
    answers = [
        parse_response(agent_text(form, step, step.action, tag), step.admissible, reasoning)
        for step, tag in zip(steps, reasoning_tags(demo, wording, reasoning), strict=True)
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


def agent_text(form: PromptForm, step: DemonstrationStep, action: str, tag: str) -> str:
    """The whole response an agent would give to play `action` with the expert's reasoning."""
    if form == "compact":
        return f"<{tag}>{step.short_thought}</{tag}><action>{action}</action>"
    return f"<{tag}>{step.thought}</{tag}>\n<action>{action}</action>"


def reasoning_tags(demo: Demonstration, wording: Wording, reasoning: Reasoning) -> tuple[str, ...]:
    """The tag of the expert's reasoning at each step."""
    if reasoning == "think":
        return ("think",) * len(demo.steps)
    return meta_tags(demo.steps, wording)


def meta_tags(steps: tuple[DemonstrationStep, ...], wording: Wording) -> tuple[str, ...]:
    """The way of reasoning, one of `META_TAGS`, that the expert shows at each step.

    It plans at the first step and where its reasoning enters a new phase, reflects after an action
    that did nothing, explores while it searches, and monitors otherwise. What comes after a
    failure is a reflection even where it enters a new phase.
    """
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
    """The action was unavailable, had no effect, or was a detour that left all as it was.

    The expert's own actions may change what cannot be seen here: heating leaves the same actions.
    """
    is_unchanged = (step.inventory, step.admissible) == (after.inventory, after.admissible)
    return (
        step.action not in step.admissible
        or wording.is_refusal(after.observation)
        or (step.is_perturbed and is_unchanged)
    )


def _phase(step: DemonstrationStep) -> str:
    return step.short_thought.split(" ", 1)[0]

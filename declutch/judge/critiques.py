"""What the cold start has the model answer to questions about a step, by template."""

from __future__ import annotations

from declutch.agent.compact import compress_action
from declutch.agent.prompt import PromptForm
from declutch.config import JudgePrompt

# The principle behind each phase of the expert's reasoning, for good steps and for bad ones.
_ADVICE = {
    "find": ("keep to places not seen yet", "search places not seen yet"),
    "open": ("open what is closed", "open what is closed first"),
    "take": ("take what the task needs", "take what the task needs at once"),
    "clean": ("change the object before placing it", "clean the object before placing it"),
    "heat": ("change the object before placing it", "heat the object before placing it"),
    "cool": ("change the object before placing it", "cool the object before placing it"),
    "use": ("bring the object to the lamp", "carry the object to the lamp"),
    "put": ("bring the object to its place", "bring the object to its place at once"),
}
_DEFAULT = ("stay with the goal", "stay with the goal")


def critique_text(
    form: PromptForm,
    label: int,
    phase: str,
    better: str,
    thought: str,
    judge_prompt: JudgePrompt = "gc",
) -> str:
    """The response a judge should give.

    Args:
        form: prompt form; the compact one begins after the opening tag.
        label: 1 good, 0 bad.
        phase: the expert's short reasoning at this state, e.g. "find mug".
        better: what the expert would do.
        thought: the expert's full reasoning.
        judge_prompt: "rm" wants the better action too where the step was bad; full form only.
    """
    words = phase.split()
    advice = _ADVICE.get(words[0] if words else "", _DEFAULT)[1 - label]
    proposal = f"<action>{better}</action>" if judge_prompt == "rm" and label == 0 else ""
    advise = f"<advise>{advice}</advise>"
    if form == "compact":
        return f"{phase}</think><answer>\\boxed{{{label}}}</answer>{advise}"
    finding = (
        "The chosen action does just that."
        if label
        else f"The chosen action does not serve this; '{better}' would have been better."
    )
    return (
        f"<think>{thought} {finding}</think><answer>\\boxed{{{label}}}</answer>{proposal}{advise}"
    )


def prediction_text(form: PromptForm, action: str, observation: str) -> str:
    """The response a forecaster should give.

    Args:
        form: prompt form; the compact one begins after the opening tag.
        action: what the agent did.
        observation: what followed, as `observation_text` words it.
    """
    answer = f"<answer>{observation}</answer>"
    if form == "compact":
        return f"{compress_action(action)}</think>{answer}"
    return f"<think>What follows is what '{action}' shows or changes.</think>{answer}"


def critique_vocabulary() -> tuple[str, ...]:
    """Every sentence of advice, for a tokenizer to learn."""
    return tuple(dict.fromkeys(s for pair in (*_ADVICE.values(), _DEFAULT) for s in pair))

"""Word by template what a model should answer when it is asked about a step of a demonstration."""

from __future__ import annotations

from declutch.agent.prompt import PromptForm
from declutch.cold_start.demonstrations import DemonstrationStep
from declutch.config.section import JudgePrompt
from declutch.envs.wording import GENERAL_ADVICE, Wording


def write_critique(
    step: DemonstrationStep,
    label: int,
    form: PromptForm,
    wording: Wording,
    judge_prompt: JudgePrompt = "gc",
) -> str:
    """Write by template what a judge should answer about an action, from the expert's reasoning.

    Args:
        step: where the action was taken; only what the expert thought and would do counts.
        label: of the action, 1 good, 0 bad.
        form: of the prompt; the compact one begins after the opening tag.
        wording: the suite's words, among them its advice.
        judge_prompt: "rm" wants the better action too where the step was bad; full form only.
    """
    words = step.short_thought.split()
    advice = wording.advice.get(words[0] if words else "", GENERAL_ADVICE)[1 - label]
    better = step.expert_action
    proposal = f"<action>{better}</action>" if judge_prompt == "rm" and label == 0 else ""
    advise = f"<advise>{advice}</advise>"
    if form == "compact":
        return f"{step.short_thought}</think><answer>\\boxed{{{label}}}</answer>{advise}"
    finding = (
        "The chosen action does just that."
        if label
        else f"The chosen action does not serve this; '{better}' would have been better."
    )
    return (
        f"<think>{step.thought} {finding}</think><answer>\\boxed{{{label}}}</answer>"
        f"{proposal}{advise}"
    )


def write_prediction(form: PromptForm, action: str, observation: str, wording: Wording) -> str:
    """Write by template what a model should answer that is asked what its action will lead to.

    Args:
        form: of the prompt; the compact one begins after the opening tag.
        action: what the agent did.
        observation: what followed, as `observation_text` words it.
        wording: the suite's words.
    """
    answer = f"<answer>{observation}</answer>"
    if form == "compact":
        return f"{wording.action(action)}</think>{answer}"
    return f"<think>What follows is what '{action}' shows or changes.</think>{answer}"


def list_advice(wording: Wording) -> tuple[str, ...]:
    """List every sentence of advice that the template texts give in a suite's critiques."""
    pairs = (*wording.advice.values(), GENERAL_ADVICE)
    return tuple(dict.fromkeys(sentence for pair in pairs for sentence in pair))

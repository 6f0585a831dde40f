"""What the cold start has the model answer to questions about a step, by template."""

from __future__ import annotations

from declutch.agent.prompt import PromptForm
from declutch.config.section import JudgePrompt
from declutch.envs.wording import GENERAL_ADVICE, Wording


def critique_text(
    form: PromptForm,
    label: int,
    phase: str,
    better: str,
    thought: str,
    wording: Wording,
    judge_prompt: JudgePrompt = "gc",
) -> str:
    """The response a judge should give.

    Args:
        form: prompt form; the compact one begins after the opening tag.
        label: 1 good, 0 bad.
        phase: the expert's short reasoning at this state, e.g. "find mug".
        better: what the expert would do.
        thought: the expert's full reasoning.
        wording: the suite's words, among them its advice.
        judge_prompt: "rm" wants the better action too where the step was bad; full form only.
    """
    words = phase.split()
    advice = wording.advice.get(words[0] if words else "", GENERAL_ADVICE)[1 - label]
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


def prediction_text(form: PromptForm, action: str, observation: str, wording: Wording) -> str:
    """The response a forecaster should give.

    Args:
        form: prompt form; the compact one begins after the opening tag.
        action: what the agent did.
        observation: what followed, as `observation_text` words it.
        wording: the suite's words.
    """
    answer = f"<answer>{observation}</answer>"
    if form == "compact":
        return f"{wording.action(action)}</think>{answer}"
    return f"<think>What follows is what '{action}' shows or changes.</think>{answer}"


def critique_vocabulary(wording: Wording) -> tuple[str, ...]:
    """Every sentence of advice, for a tokenizer to learn."""
    pairs = (*wording.advice.values(), GENERAL_ADVICE)
    return tuple(dict.fromkeys(sentence for pair in pairs for sentence in pair))

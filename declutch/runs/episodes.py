"""An iteration's episodes as plain data, each step with its labels, advantage and judgments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from declutch.agent.codec import Codec
from declutch.judge.round import JudgeRound
from declutch.records import Episode, Role, StepTable


def describe_episodes(
    iteration: int,
    episodes: Sequence[Episode],
    table: StepTable,
    advantage: Tensor,
    judged: JudgeRound,
    codec: Codec,
) -> list[dict[str, Any]]:
    """Episodes as plain data, each step with its labels, advantage and judgments."""
    values = {
        (int(e), int(p)): float(a)
        for e, p, a in zip(table.episode, table.position, advantage, strict=True)
    }
    judgments = _judgments_by_step(judged, codec)
    origins = {(q.episode, q.position): q.source for q in judged.questions}
    rows = []
    for index, episode in enumerate(episodes):
        steps = []
        for position, step in enumerate(episode.steps):
            steps.append(
                {
                    "prompt": codec.tokenizer.decode(step.prompt_ids.tolist()),
                    "response": codec.decode(step.response_ids),
                    "action": step.action.text,
                    "observation": step.observation,
                    "is_valid": step.action.is_valid,
                    "is_admissible": step.action.is_admissible,
                    "reward": step.reward,
                    "advantage": values.get((index, position)),
                    "label_rule": _label(judged.rule, index, position),
                    "label_oracle": _label(judged.oracle, index, position),
                    "label_llm": _label(judged.llm.labels, index, position) if judged.llm else None,
                    "label_source": origins.get((index, position), ""),
                    "judgments": judgments.get((index, position), []),
                }
            )
        rows.append(
            {
                "iteration": iteration,
                "task": vars(episode.task),
                "group": episode.group,
                "role": episode.role.name.lower(),
                "outcome": episode.outcome.value,
                "score": episode.score,
                "final_observation": episode.final_observation,
                "steps": steps,
            }
        )
    return rows


def _judgments_by_step(
    judged: JudgeRound, codec: Codec
) -> dict[tuple[int, int], list[dict[str, Any]]]:
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for judgment in judged.episodes:
        question = judged.questions[judgment.group]
        step = judgment.steps[0]
        verdict: int | str | None = step.action.text or None
        if verdict is not None and question.label is not None:
            verdict = int(verdict)
        found.setdefault((question.episode, question.position), []).append(
            {
                "response": codec.decode(step.response_ids, Role.JUDGE),
                "verdict": verdict,
                "reward": step.reward,
            }
        )
    for question, score in zip(judged.questions, judged.scores, strict=False):
        verdict = int(score >= 0.5)
        found[question.episode, question.position] = [
            {
                "response": f"the value head takes it for good with probability {score:.3f}",
                "verdict": verdict,
                "reward": float(verdict == question.label),
            }
        ]
    return found


def _label(labels: Sequence[Sequence[int | None]], episode: int, position: int) -> int | None:
    return labels[episode][position] if labels else None

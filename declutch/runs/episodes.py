"""Describe an iteration's episodes as plain data, each step with its labels and judgments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from declutch.agent.codec import Codec
from declutch.agent.prompt import seen_text, view_at
from declutch.judge.round import JudgeRound
from declutch.records import Episode, Role, StepTable

_Place = tuple[int, int]
"""A step: index of its episode, position in it."""


@dataclass(frozen=True)
class PlayedIteration:
    """A run's episodes of one iteration, with what they were judged and credited, to be saved.

    Attributes:
        iteration: its number, from 1.
        episodes: all that the agent played.
        table: the S steps that were trained on.
        advantage: f32[S], each step's mean over its tokens.
        judged: the questions about the episodes, their answers and all labels.
        codec: turns token ids back into text.
    """

    iteration: int
    episodes: Sequence[Episode]
    table: StepTable
    advantage: Tensor
    judged: JudgeRound
    codec: Codec


def describe_episodes(played: PlayedIteration) -> list[dict[str, Any]]:
    """Describe a run's episodes of one iteration as plain data to be saved, in their order."""
    marks = _Marks.of(played)
    return [
        {
            "iteration": played.iteration,
            "task": vars(episode.task),
            "group": episode.group,
            "role": episode.role.name.lower(),
            "outcome": episode.outcome.value,
            "score": episode.score,
            "final_observation": episode.final_observation,
            # Why it broke off; only few episodes have a reason.
            **({"error": episode.error} if episode.error else {}),
            "steps": [
                {**_describe_step(episode, position, played.codec), **marks.at((index, position))}
                for position in range(len(episode.steps))
            ],
        }
        for index, episode in enumerate(played.episodes)
    ]


def _describe_step(episode: Episode, position: int, codec: Codec) -> dict[str, Any]:
    step = episode.steps[position]
    seen: dict[str, Any] = {"observation": step.observation}
    if step.distractors:
        view = view_at(episode, position)
        seen = {
            "observation": seen_text(view, position, codec.wording),
            "distractors": [each.text for each in step.distractors],
        }
    return {
        "prompt": codec.tokenizer.decode(step.prompt_ids.tolist()),
        "response": codec.decode(step.response_ids),
        "action": step.action.text,
        **seen,
        "is_valid": step.action.is_valid,
        "is_admissible": step.action.is_admissible,
        "reward": step.reward,
    }


@dataclass(frozen=True)
class _Marks:
    """What credit and judging said of single steps."""

    judged: JudgeRound
    advantages: Mapping[_Place, float]
    sources: Mapping[_Place, str]
    judgments: Mapping[_Place, list[dict[str, Any]]]

    @classmethod
    def of(cls, played: PlayedIteration) -> _Marks:
        table = played.table
        rows = zip(table.episode, table.position, played.advantage, strict=True)
        judged = played.judged
        return cls(
            judged=judged,
            advantages={(int(e), int(p)): float(a) for e, p, a in rows},
            sources={(q.episode, q.position): q.source for q in judged.questions},
            judgments=_judgments_by_step(judged, played.codec),
        )

    def at(self, place: _Place) -> dict[str, Any]:
        judged = self.judged
        return {
            "advantage": self.advantages.get(place),
            "label_rule": _label(judged.rule, place),
            "label_oracle": _label(judged.oracle, place),
            "label_llm": _label(judged.llm.labels, place) if judged.llm else None,
            "label_source": self.sources.get(place, ""),
            "judgments": self.judgments.get(place, []),
        }


def _judgments_by_step(judged: JudgeRound, codec: Codec) -> dict[_Place, list[dict[str, Any]]]:
    found: dict[_Place, list[dict[str, Any]]] = {}
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


def _label(labels: Sequence[Sequence[int | None]], place: _Place) -> int | None:
    episode, position = place
    given = labels[episode] if labels else ()
    # None are given to an episode that the environment broke off: its steps are not judged.
    return given[position] if given else None

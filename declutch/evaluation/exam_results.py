"""How well a policy judged labelled steps of an evaluation: its judgments and their summary.

The steps are balanced between the classes, so that a verdict that never changes is right on half of
them. Several judgments of a step, and several steps of a game, are no independent evidence: the
interval's unit is the game.

Source: GC appendix A.4 and table 4.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from declutch.evaluation.intervals import Estimate, share_by_cluster


@dataclass(frozen=True)
class JudgedStep:
    """One step in the results of a judge's exam: the judgments it was given, beside its label.

    Attributes:
        level, name, kind, seed: the play it is of, as in `GameResult`.
        position: of the step in its episode, from 0.
        label: 1 good, 0 bad.
        good, bad, unreadable: how many judgments said so.
    """

    level: str
    name: str
    kind: str
    seed: int
    position: int
    label: int
    good: int
    bad: int
    unreadable: int

    @property
    def num_judgments(self) -> int:
        return self.good + self.bad + self.unreadable

    @property
    def num_right(self) -> int:
        return self.good if self.label == 1 else self.bad


@dataclass(frozen=True)
class LabelCounts:
    """Counts in a judge's exam results: a level's steps played, and their good and bad labels."""

    num_steps: int
    good: int
    bad: int


@dataclass(frozen=True)
class JudgeResult:
    """The results of a judge's exam in an evaluation: who judged, by which labels, and every step.

    Attributes:
        judge: name of who judged.
        labels: where the labels came from, "oracle" or "rule".
        temperature: that the judgments were sampled at.
        played: level -> the labels of all steps played, errors of the environment left out.
        steps: the steps drawn from them, by level in play order.
    """

    judge: str
    labels: str
    temperature: float
    played: Mapping[str, LabelCounts]
    steps: tuple[JudgedStep, ...]


@dataclass(frozen=True)
class JudgeRow:
    """Exam results of a judge on one level of an evaluation; NaN or n = 0 where there is nothing.

    Attributes:
        num_steps, num_games: judged steps and the games they are of.
        good_share: share of the judged steps that are good; 1/2 but for an odd step.
        accuracy: share of the judgments that are right; `accuracy.n` counts judgments.
        accuracy_good: of the judgments of good steps; the true positive rate.
        accuracy_bad: of the judgments of bad steps; the true negative rate.
        false_good: share of the judgments of bad steps that say "good"; with unreadable ones it
            is less than what is missing in `accuracy_bad`.
        unreadable: share of the judgments without a verdict, which are wrong.
        constant: accuracy of always saying the more frequent label.
        played: the labels of all steps played.
    """

    level: str
    num_steps: int
    num_games: int
    good_share: float
    accuracy: Estimate
    accuracy_good: Estimate
    accuracy_bad: Estimate
    false_good: float
    unreadable: float
    constant: float
    played: LabelCounts

    @property
    def labelled_good_share(self) -> float:
        """Share of good steps among all labelled ones."""
        return _ratio(self.played.good, self.played.good + self.played.bad)

    @property
    def labelled_accuracy(self) -> float:
        """The accuracy to expect on all labelled steps, from that of either class."""
        good = self.labelled_good_share
        return good * self.accuracy_good.mean + (1 - good) * self.accuracy_bad.mean

    @property
    def labelled_constant(self) -> float:
        """What always saying their more frequent label would reach there."""
        return max(self.labelled_good_share, 1 - self.labelled_good_share)


def summarise_judgments(result: JudgeResult) -> tuple[JudgeRow, ...]:
    """Summarise the results of a judge's exam: accuracy per level, in playing order."""
    return tuple(
        _row(level, played, [step for step in result.steps if step.level == level])
        for level, played in result.played.items()
    )


def judge_data(result: JudgeResult) -> dict[str, Any]:
    """The results of a judge's exam as plain data for the evaluation's JSON file."""
    return {
        "judge": result.judge,
        "labels": result.labels,
        "temperature": result.temperature,
        "played": {level: vars(counts) for level, counts in result.played.items()},
        "columns": [entry.name for entry in fields(JudgedStep)],
        "steps": [astuple(step) for step in result.steps],
    }


def read_judge_data(data: Mapping[str, Any]) -> JudgeResult:
    """Read the results of a judge's exam back from the plain data of an evaluation's JSON file.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or has the wrong type.
    """
    return JudgeResult(
        judge=str(data["judge"]),
        labels=str(data["labels"]),
        temperature=float(data["temperature"]),
        played={
            str(level): LabelCounts(**{name: int(count) for name, count in counts.items()})
            for level, counts in data["played"].items()
        },
        steps=tuple(_step(dict(zip(data["columns"], row, strict=True))) for row in data["steps"]),
    )


def _row(level: str, played: LabelCounts, steps: Sequence[JudgedStep]) -> JudgeRow:
    good = [step for step in steps if step.label == 1]
    bad = [step for step in steps if step.label == 0]
    judgments = sum(step.num_judgments for step in steps)
    return JudgeRow(
        level=level,
        num_steps=len(steps),
        num_games=len({step.name for step in steps}),
        good_share=_ratio(len(good), len(steps)),
        accuracy=_accuracy(steps),
        accuracy_good=_accuracy(good),
        accuracy_bad=_accuracy(bad),
        false_good=_ratio(sum(s.good for s in bad), sum(s.num_judgments for s in bad)),
        unreadable=_ratio(sum(step.unreadable for step in steps), judgments),
        constant=_ratio(max(len(good), len(bad)), len(steps)),
        played=played,
    )


def _accuracy(steps: Sequence[JudgedStep]) -> Estimate:
    right: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for step in steps:
        right[step.name] += step.num_right
        judged[step.name] += step.num_judgments
    return share_by_cluster([right[name] for name in judged], list(judged.values()))


def _step(row: Mapping[str, Any]) -> JudgedStep:
    return JudgedStep(
        level=str(row["level"]),
        name=str(row["name"]),
        kind=str(row["kind"]),
        seed=int(row["seed"]),
        position=int(row["position"]),
        label=int(row["label"]),
        good=int(row["good"]),
        bad=int(row["bad"]),
        unreadable=int(row["unreadable"]),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan

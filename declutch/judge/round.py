"""One iteration's judging: label the steps just played, ask about some, play the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from declutch.config.judge import GCDConfig
from declutch.config.run import Config
from declutch.ground.streams import stream
from declutch.judge.labels import (
    Labels,
    LabelStats,
    compare_labels,
    label_by_oracle,
    label_by_rule,
    shuffle_labels,
)
from declutch.judge.llm_labels import Labeler, LLMLabels
from declutch.judge.questions import Question
from declutch.judge.tasks import AuxiliaryTask
from declutch.records import Episode, Outcome

Phase = Callable[[str], AbstractContextManager[None]]
"""Times a part of an iteration under its name."""


@dataclass(frozen=True)
class JudgeRound:
    """The judge's round of one training iteration: labels, questions, answers.

    Attributes:
        questions: the steps asked about; `Question.episode` indexes the agent's episodes.
        episodes: one a judgment or prediction; its group is its question.
        rule, oracle: labels of all agent episodes by source.
        stats: the sources compared, None without judging.
        scores: for each question the value head's probability of "good"; () without a head.
        llm: what a language model said of them, None where none was asked.
    """

    questions: tuple[Question, ...]
    episodes: tuple[Episode, ...]
    rule: tuple[Labels, ...]
    oracle: tuple[Labels, ...]
    stats: LabelStats | None
    scores: tuple[float, ...] = ()
    llm: LLMLabels | None = None

    @staticmethod
    def empty() -> JudgeRound:
        return JudgeRound((), (), (), (), None)

    def answers(self) -> list[tuple[Question, str]]:
        """Every answer with its question: "0" or "1", a prediction, or "" where unreadable."""
        spoken = [(self.questions[e.group], e.steps[0].action.text) for e in self.episodes]
        pairs = zip(self.questions, self.scores, strict=False)
        return [*spoken, *((question, str(int(score >= 0.5))) for question, score in pairs)]


def play_judge(
    episodes: Sequence[Episode],
    task: AuxiliaryTask,
    config: Config,
    iteration: int,
    phase: Phase,
    labeler: Labeler | None = None,
) -> JudgeRound:
    """Play the judge's round of an iteration: label the agent's steps, ask questions, get answers.

    Rule and oracle label every step, for their comparison; `config.gcd.labels` alone chooses which
    sources the questions come from.

    Args:
        iteration: from 0.
        labeler: asks a language model for labels, where `config.gcd.labels` wants them.
    Raises:
        EndpointFailedError: the language model is away, under on_endpoint_failure=stop.
    """
    gcd = config.gcd
    with phase("label"):
        played = [e if e.outcome is not Outcome.ENV_ERROR else _without_steps(e) for e in episodes]
        rule = [label_by_rule(e, task.policy.codec.wording, gcd.rule_key) for e in played]
        oracle = [label_by_oracle(episode) for episode in played]
        llm = labeler.label(played, iteration) if labeler is not None else None
        known: dict[str, Sequence[Labels]] = {"rule": rule, "oracle": oracle}
        if gcd.labels == "shuffled":
            draw = stream(config.seed, "shuffled labels", iteration)
            known["shuffled"] = shuffle_labels(oracle, draw)
        sources = choose_sources(gcd, known, llm)
        questions = task.ask(played, sources, stream(config.seed, "questions", iteration))
    with phase("judge"):
        answers = task.answer(questions, iteration)
    return JudgeRound(
        questions=tuple(questions),
        episodes=answers.episodes,
        rule=tuple(rule),
        oracle=tuple(oracle),
        stats=compare_labels(rule, oracle),
        scores=answers.scores,
        llm=llm,
    )


def choose_sources(
    gcd: GCDConfig, known: Mapping[str, Sequence[Labels]], llm: LLMLabels | None
) -> dict[str, Sequence[Labels]]:
    """Decide in a round of judging whose labels count: rule's, oracle's, language model's.

    Args:
        known: the labels by source, without a language model's.
        llm: None where no language model was asked.
    """
    if llm is not None and llm.failure:
        if gcd.on_endpoint_failure == "fallback":
            return {gcd.fallback_labels: known[gcd.fallback_labels]}
    elif llm is not None:
        is_kept = (1,) if gcd.llm_labels == "positive_only" else (0, 1)
        kept = [tuple(mark if mark in is_kept else None for mark in marks) for marks in llm.labels]
        known = {**known, "llm": kept}
    return {name: known[name] for name in gcd.labels.split("+") if name in known}


def why_no_questions(judged: JudgeRound, gcd: GCDConfig) -> str:
    """Say why a judge's round asked nothing: how many good and bad steps its labels tell.

    The counts are of the sources that the round took: without an endpoint that failed, and with
    what stood in for it.
    """
    # Shuffled labels are as many as those they are dealt of.
    known = {"rule": judged.rule, "oracle": judged.oracle, "shuffled": judged.oracle}
    counts = []
    for source, labels in choose_sources(gcd, known, judged.llm).items():
        marks = [mark for each in labels for mark in each]
        counts.append(f"{source}: {marks.count(1)} good, {marks.count(0)} bad")
    if judged.llm is not None and judged.llm.failure:
        counts.append(f"the endpoint failed, gcd.on_endpoint_failure={gcd.on_endpoint_failure}")
    found = "; ".join(counts) or f"by gcd.labels={gcd.labels}"
    return (
        f"0 questions for the judge: it is asked about as many good steps as bad ones, and the "
        f"labels give no such pairs ({found}). A model that seldom gets the format or the game "
        "right needs a cold start first"
    )


def _without_steps(episode: Episode) -> Episode:
    return Episode(episode.task, episode.group, episode.role, (), episode.outcome, episode.score)

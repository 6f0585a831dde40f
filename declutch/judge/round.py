"""One iteration's judging: label the steps just played, ask about some, play the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from declutch.agent.prompt import observation_text, render_future, render_judge, view_at
from declutch.config.judge import GCDConfig
from declutch.config.run import Config
from declutch.judge.env import Forecaster, Judge, JudgeEnv, judge_plays
from declutch.judge.labels import (
    Labels,
    LabelStats,
    combine_labels,
    label_stats,
    oracle_labels,
    rule_labels,
)
from declutch.judge.llm_labels import Labeler, LLMLabels
from declutch.judge.questions import Question, build_questions, select_steps, spread_steps
from declutch.records import Episode, Outcome, Role
from declutch.rollout.collect import CollectParams, collect
from declutch.rollout.policy import Policy
from declutch.streams import stream

Phase = Callable[[str], AbstractContextManager[None]]
Classify = Callable[[Sequence[Question]], list[float]]
"""The value head's probability that each question's step was good."""


@dataclass(frozen=True)
class JudgeRound:
    """What one iteration's judging produced.

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
    policy: Policy,
    config: Config,
    iteration: int,
    phase: Phase,
    classify: Classify | None = None,
    labeler: Labeler | None = None,
) -> JudgeRound:
    """Label, select and judge (METHOD, section 4, steps 1 to 3).

    Rule and oracle label every step, for their comparison; `config.gcd.labels` alone chooses which
    sources the questions come from.

    Args:
        classify: the value head, which then judges in the place of sampled answers.
        labeler: asks a language model for labels, where `config.gcd.labels` wants them.
    Raises:
        EndpointFailedError: the language model is away, under on_endpoint_failure=stop.
    """
    gcd = config.gcd
    with phase("label"):
        played = [e if e.outcome is not Outcome.ENV_ERROR else _without_steps(e) for e in episodes]
        rule = [rule_labels(e, policy.codec.wording, gcd.rule_key) for e in played]
        oracle = [oracle_labels(episode) for episode in played]
        llm = labeler.label(played, iteration) if labeler is not None else None
        sources = choose_sources(gcd, rule, oracle, llm)
        draw = stream(config.seed, "questions", iteration)
        questions = _ask(played, sources, policy, gcd, draw)
    judgments: list[Episode] = []
    scores: list[float] = []
    with phase("judge"):
        if classify is not None:
            scores = classify(questions)
        else:
            judgments = collect(
                judge_plays(questions, gcd.num_judgments),
                lambda: JudgeEnv(questions),
                _examinee(policy, config),
                policy.engine,
                CollectParams(max_steps=1, temperature=config.rollout.temperature, role=Role.JUDGE),
                stream(config.seed, "judge", iteration),
            )
    return JudgeRound(
        questions=tuple(questions),
        episodes=tuple(judgments),
        rule=tuple(rule),
        oracle=tuple(oracle),
        stats=label_stats(rule, oracle),
        scores=tuple(scores),
        llm=llm,
    )


def choose_sources(
    gcd: GCDConfig, rule: Sequence[Labels], oracle: Sequence[Labels], llm: LLMLabels | None
) -> dict[str, Sequence[Labels]]:
    """The labels that questions are made of, by source.

    Args:
        llm: None where no language model was asked.
    """
    known = {"rule": rule, "oracle": oracle}
    if llm is not None and llm.failure:
        if gcd.on_endpoint_failure == "fallback":
            return {gcd.fallback_labels: known[gcd.fallback_labels]}
    elif llm is not None:
        is_kept = (1,) if gcd.llm_labels == "positive_only" else (0, 1)
        known["llm"] = [
            tuple(mark if mark in is_kept else None for mark in marks) for marks in llm.labels
        ]
    return {name: known[name] for name in gcd.labels.split("+") if name in known}


def _examinee(policy: Policy, config: Config) -> Forecaster | Judge:
    limit = config.gcd.max_response_tokens
    if config.gcd.form == "future":
        return Forecaster(policy.codec, config.agent, limit)
    return Judge(policy.codec, config.agent, limit, config.gcd.judge_prompt)


def _ask(
    episodes: Sequence[Episode],
    sources: Mapping[str, Sequence[Labels]],
    policy: Policy,
    gcd: GCDConfig,
    draw: torch.Generator,
) -> list[Question]:
    if gcd.form == "future":
        steps = spread_steps(episodes, gcd.num_questions, draw)
        return [_ask_future(episodes[e], e, p, policy) for e, p in steps]
    labels, origins = combine_labels(sources, [len(episode.steps) for episode in episodes])
    chosen = select_steps(episodes, labels, gcd.num_questions, draw)
    return ask_about(episodes, chosen, origins, policy, gcd)


def ask_about(
    episodes: Sequence[Episode],
    chosen: Sequence[tuple[int, int, int]],
    origins: Sequence[Sequence[str]],
    policy: Policy,
    gcd: GCDConfig,
) -> list[Question]:
    """The judge's questions about steps that `policy` played.

    Args:
        chosen, origins: as `chosen` and `sources` of `build_questions`.
    """
    codec = policy.codec
    return build_questions(
        episodes,
        chosen,
        origins,
        lambda e, p: render_judge(
            *_played(policy, e, p), codec.form, codec.wording, gcd.judge_prompt
        ),
    )


def _ask_future(episode: Episode, index: int, position: int, policy: Policy) -> Question:
    form, wording = policy.codec.form, policy.codec.wording
    later = [step.observation for step in episode.steps[1:]]
    followed = [*later, episode.final_observation][position]
    prompt = render_future(*_played(policy, episode, position), form, wording)
    return Question(index, position, None, observation_text(followed, form, wording), prompt)


def _played(policy: Policy, episode: Episode, position: int) -> tuple[str, str]:
    """The agent's prompt and whole response at one step."""
    problem = policy.agent.render(view_at(episode, position))
    return problem, policy.codec.decode(episode.steps[position].response_ids)


def _without_steps(episode: Episode) -> Episode:
    return Episode(episode.task, episode.group, episode.role, (), episode.outcome, episode.score)

"""One iteration's judging: label the steps just played, ask about some, play the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from declutch.agent.prompt import render_judge, view_at
from declutch.config import Config
from declutch.judge.env import Judge, JudgeEnv, judge_plays
from declutch.judge.labels import Labels, LabelStats, label_stats, oracle_labels, rule_labels
from declutch.judge.questions import Question, build_questions, select_steps
from declutch.policy import Policy
from declutch.records import Episode, Outcome, Role
from declutch.rollout.collect import CollectParams, collect
from declutch.streams import stream

Phase = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class JudgeRound:
    """What one iteration's judging produced.

    Attributes:
        questions: the judged steps; `Question.episode` indexes the agent's episodes.
        episodes: one a judgment; its group is its question.
        rule, oracle: labels of all agent episodes by source.
        stats: the sources compared, None without judging.
    """

    questions: tuple[Question, ...]
    episodes: tuple[Episode, ...]
    rule: tuple[Labels, ...]
    oracle: tuple[Labels, ...]
    stats: LabelStats | None

    @staticmethod
    def empty() -> JudgeRound:
        return JudgeRound((), (), (), (), None)


def play_judge(
    episodes: Sequence[Episode], policy: Policy, config: Config, iteration: int, phase: Phase
) -> JudgeRound:
    """Label, select and judge (METHOD, section 4, steps 1 to 3).

    Both sources label every step, for their comparison; `config.gcd.labels` alone chooses which
    one the questions come from.
    """
    gcd = config.gcd
    with phase("label"):
        played = [e if e.outcome is not Outcome.ENV_ERROR else _without_steps(e) for e in episodes]
        rule = [rule_labels(episode, gcd.rule_key) for episode in played]
        oracle = [oracle_labels(episode) for episode in played]
        chosen = select_steps(
            played,
            oracle if gcd.labels == "oracle" else rule,
            gcd.num_questions,
            stream(config.seed, "questions", iteration),
        )
        questions = build_questions(played, chosen, lambda e, p: _render(policy, e, p))
    with phase("judge"):
        judgments = collect(
            judge_plays(questions, gcd.num_judgments),
            lambda: JudgeEnv(questions),
            Judge(policy.codec, config.agent, gcd.max_response_tokens),
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
    )


def _render(policy: Policy, episode: Episode, position: int) -> str:
    problem = policy.agent.render(view_at(episode, position))
    response = policy.codec.decode(episode.steps[position].response_ids)
    return render_judge(problem, response, policy.codec.form)


def _without_steps(episode: Episode) -> Episode:
    return Episode(episode.task, episode.group, episode.role, (), episode.outcome, episode.score)

"""What the actor can learn beside acting: the auxiliary tasks, and how the chosen one is found.

A task asks questions about steps that the agent has just played, has them answered, and makes a
lesson of the answers, which the update adds to the agent's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from declutch.agent.prompt import observation_text, render_judge, render_prediction, view_at
from declutch.config.algorithm import GRPOConfig
from declutch.config.dotted import import_dotted
from declutch.config.judge import SHIPPED_TRAITS, TASKS, GCDConfig, TaskTraits
from declutch.config.run import Config
from declutch.credit.grpo import grpo
from declutch.credit.table import build_table
from declutch.ground.streams import derive_seed
from declutch.judge.env import Forecaster, Judge, Questionnaire, judge_plays
from declutch.judge.labels import Labels, combine_labels
from declutch.judge.questions import Question, build_questions, select_steps, spread_steps
from declutch.learner.lesson import Lesson
from declutch.records import Episode, Role, Step
from declutch.rollout.collect import CollectParams, collect
from declutch.rollout.groups import Collect
from declutch.rollout.policy import Policy

TeachAnswers = Callable[[Sequence[Step], Tensor], Lesson]
"""Makes a policy lesson of S sampled answers, as steps, and their advantages, f32[S]."""


@dataclass(frozen=True)
class Answers:
    """What the auxiliary tasks get to their questions: samples in words, or a classifier's scores.

    Attributes:
        episodes: one a sampled answer, of one step; its group is its question.
        scores: for each question the probability of "good" that a classifier gives its step;
            () where answers are sampled.
    """

    episodes: tuple[Episode, ...] = ()
    scores: tuple[float, ...] = ()


class AuxiliaryTask(ABC):
    """An auxiliary task in one training run, learned beside acting: judging, prediction, ...

    A task of your own is a class derived from this one, which `gcd.task=package.module:NAME` names.

    Attributes:
        traits: what settings and reports have to know of it.

    Args:
        config: all settings of the run.
        policy: the actor; a resumed run gives the one it goes on with.
    Raises:
        UserError: the model that the run starts from does not suit the task.
    """

    traits: ClassVar[TaskTraits]

    def __init__(self, config: Config, policy: Policy) -> None:
        self.config = config
        self.policy = policy

    @abstractmethod
    def ask(
        self,
        episodes: Sequence[Episode],
        sources: Mapping[str, Sequence[Labels]],
        draw: torch.Generator,
    ) -> list[Question]:
        """Choose steps of an iteration's episodes and write the questions about them.

        Args:
            episodes: the agent's, those that ended in an environment error without steps.
            sources: by name of the source, the labels of every step of every episode.
            draw: where what is chosen at random comes from.
        """

    @abstractmethod
    def answer(self, questions: Sequence[Question], iteration: int) -> Answers:
        """Have the policy answer the questions of an iteration, counted from 0."""

    @abstractmethod
    def lesson(
        self,
        questions: Sequence[Question],
        answers: Answers,
        iteration: int,
        teach: TeachAnswers,
    ) -> Lesson | None:
        """What the answers teach in the iteration's update; None for nothing."""

    def state(self) -> dict[str, Mapping[str, Any]]:
        """What a checkpoint keeps of the task beside the policy, by name of the part."""
        return {}

    def restore(self, part: Callable[[str], Mapping[str, Any]]) -> None:
        """Put back what `state` gave; `part` reads a part of the checkpoint by its name."""
        del part  # A task without a state has nothing to put back.


class SampledTask(AuxiliaryTask):
    """An auxiliary task whose answers are sampled in words, rewarded, and credited by GRPO.

    The answers to one question are a group.

    With several processes each has a task of its own, made by the settings, whose examinee answers
    a part of the questions: what `examinee` gives must depend on settings and policy alone.

    Attributes:
        collect_by: plays the answers to a `Questionnaire`; in this process, unless told otherwise.
    """

    collect_by: Collect = staticmethod(collect)

    @abstractmethod
    def examinee(self) -> Judge | Forecaster:
        """The policy as one who answers: how it is asked, and how its answers are read."""

    def answer(self, questions: Sequence[Question], iteration: int) -> Answers:
        config = self.config
        seed = derive_seed(config.seed, "judge", iteration)
        played = self.collect_by(
            judge_plays(questions, config.gcd.num_judgments, seed),
            Questionnaire(questions),
            self.examinee(),
            self.policy.engine,
            CollectParams(max_steps=1, temperature=config.rollout.temperature, role=Role.JUDGE),
        )
        # A question that is too long for the model has no answer.
        return Answers(episodes=tuple(episode for episode in played if episode.steps))

    def lesson(
        self,
        questions: Sequence[Question],
        answers: Answers,
        iteration: int,
        teach: TeachAnswers,
    ) -> Lesson | None:
        if not answers.episodes:
            return None
        table, steps = build_table(answers.episodes)
        return teach(steps, grpo(table, None, GRPOConfig()))


class JudgeTask(SampledTask):
    """GCD's auxiliary task of judging: the actor says in words if its own steps were good or bad.

    Source: GC section 4, RM section 4.
    """

    traits = SHIPPED_TRAITS["judge"]

    def ask(
        self,
        episodes: Sequence[Episode],
        sources: Mapping[str, Sequence[Labels]],
        draw: torch.Generator,
    ) -> list[Question]:
        return ask_about_labelled(episodes, sources, self.policy, self.config.gcd, draw)

    def examinee(self) -> Judge:
        gcd = self.config.gcd
        return Judge(
            self.policy.codec, self.config.agent, gcd.max_response_tokens, gcd.judge_prompt
        )


class PredictionTask(SampledTask):
    """The auxiliary task of prediction, GCD's ablation: the actor predicts what its steps lead to.

    Source: RM, "future GRPO".
    """

    traits = SHIPPED_TRAITS["prediction"]

    def ask(
        self,
        episodes: Sequence[Episode],
        sources: Mapping[str, Sequence[Labels]],
        draw: torch.Generator,
    ) -> list[Question]:
        steps = spread_steps(episodes, self.config.gcd.num_questions, draw)
        return [self._ask_one(episodes[index], index, position) for index, position in steps]

    def examinee(self) -> Forecaster:
        config = self.config
        return Forecaster(self.policy.codec, config.agent, config.gcd.max_response_tokens)

    def _ask_one(self, episode: Episode, index: int, position: int) -> Question:
        form, wording = self.policy.codec.form, self.policy.codec.wording
        later = [step.observation for step in episode.steps[1:]]
        followed = [*later, episode.final_observation][position]
        problem, response = shown_step(self.policy, episode, position)
        prompt = render_prediction(problem, response, form, wording)
        return Question(index, position, None, observation_text(followed, form, wording), prompt)


def ask_about_labelled(
    episodes: Sequence[Episode],
    sources: Mapping[str, Sequence[Labels]],
    policy: Policy,
    gcd: GCDConfig,
    draw: torch.Generator,
) -> list[Question]:
    """For auxiliary tasks that need labels: choose up to `gcd.num_questions` steps and ask.

    Args:
        sources: labels of every step by source; steps that sources disagree on are left out.
        policy: who played the steps.
    """
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
    """For auxiliary tasks that judge: ask about these chosen steps.

    Args:
        chosen, origins: as `chosen` and `sources` of `build_questions`.
    """
    codec = policy.codec
    return build_questions(
        episodes,
        chosen,
        origins,
        lambda episode, position: render_judge(
            *shown_step(policy, episode, position), codec.form, codec.wording, gcd.judge_prompt
        ),
    )


def shown_step(policy: Policy, episode: Episode, position: int) -> tuple[str, str]:
    """What every auxiliary task has in its prompt: the agent's prompt and response of a step."""
    problem = policy.agent.render(view_at(episode, position))
    return problem, policy.codec.decode(episode.steps[position].response_ids)


def make_task(config: Config, policy: Policy) -> AuxiliaryTask:
    """Make the auxiliary task that `gcd.task` names, for one training run.

    Raises:
        UserError: the model that the run starts from does not suit the task.
    """
    name = config.gcd.task
    found = import_dotted(TASKS.get(name, name))
    made: AuxiliaryTask = found(config, policy)
    return made

"""The ablation of GCD that classifies steps by a linear layer on the actor's hidden state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from declutch.config.judge import SHIPPED_TRAITS
from declutch.config.run import Config
from declutch.ground.streams import stream
from declutch.judge.labels import Labels
from declutch.judge.questions import Question
from declutch.judge.tasks import Answers, AuxiliaryTask, TeachAnswers, ask_about_labelled
from declutch.learner.optimizer import set_learning_rate
from declutch.learner.value_head import (
    Classification,
    Labelled,
    classify,
    head_optimizer,
    start_head,
)
from declutch.records import Episode
from declutch.rollout.policy import Policy

PART = "value head"
"""Name of the head in a checkpoint."""


class ValueHeadTask(AuxiliaryTask):
    """The judge's auxiliary task with a value head, GCD's ablation: it samples no words.

    It reads the judge's prompt.

    Source: RM, appendix B.

    Raises:
        UserError: as for `start_head`.
    """

    traits = SHIPPED_TRAITS["value_head"]

    def __init__(self, config: Config, policy: Policy) -> None:
        super().__init__(config, policy)
        self._optimizer = head_optimizer(config.optimizer, config.gcd.head_lr)
        self.head = start_head(
            config.model.path, policy.model, self._optimizer, stream(config.seed, "value-head")
        )

    def ask(
        self,
        episodes: Sequence[Episode],
        sources: Mapping[str, Sequence[Labels]],
        draw: torch.Generator,
    ) -> list[Question]:
        return ask_about_labelled(episodes, sources, self.policy, self.config.gcd, draw)

    def answer(self, questions: Sequence[Question], iteration: int) -> Answers:
        budget = self.config.optimizer.pass_tokens
        prompts = [self._encode(question) for question in questions]
        model, pad_id = self.policy.model, self.policy.pad_id
        scores = classify(model, self.head.layer, prompts, budget, pad_id).sigmoid()
        return Answers(scores=tuple(scores.tolist()))

    def lesson(
        self,
        questions: Sequence[Question],
        answers: Answers,
        iteration: int,
        teach: TeachAnswers,
    ) -> Classification:
        iterations = self.config.train.iterations
        set_learning_rate(self.head.optimizer, self._optimizer, iteration, iterations)
        examples = [Labelled(self._encode(q), q.label) for q in questions if q.label is not None]
        budget = self.config.optimizer.pass_tokens
        return Classification(self.head, examples, budget, self.policy.pad_id)

    def state(self) -> dict[str, Mapping[str, Any]]:
        return {PART: self.head.state()}

    def restore(self, part: Callable[[str], Mapping[str, Any]]) -> None:
        self.head.restore(part(PART))

    def _encode(self, question: Question) -> Tensor:
        return self.policy.codec.encode_prompt(question.prompt)

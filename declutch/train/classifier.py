"""The value head of a training run: where it comes from, what it judges, what it learns."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from declutch.config.run import Config
from declutch.judge.questions import Question
from declutch.learner.optimizer import set_learning_rate
from declutch.learner.value_head import (
    Classification,
    Labelled,
    classify,
    head_optimizer,
    start_head,
)
from declutch.rollout.policy import Policy
from declutch.streams import stream


class Classifier:
    """A policy's value head, as `gcd.form=value_head` asks for it.

    Raises:
        UserError: as for `start_head`.
    """

    def __init__(self, config: Config, policy: Policy) -> None:
        self._config = config
        self._policy = policy
        self.head = start_head(
            config.model.path,
            policy.model,
            head_optimizer(config.optimizer, config.gcd.head_lr),
            stream(config.seed, "value-head"),
        )

    def judge(self, questions: Sequence[Question]) -> list[float]:
        """The probability that each question's step was good."""
        budget = self._config.optimizer.micro_batch_tokens
        prompts = [self._encode(question) for question in questions]
        model, pad_id = self._policy.model, self._policy.pad_id
        return classify(model, self.head.layer, prompts, budget, pad_id).sigmoid().tolist()

    def lesson(self, questions: Sequence[Question], iteration: int) -> Classification:
        """What one iteration's update is to teach the head, at that iteration's learning rate."""
        iterations = self._config.train.iterations
        settings = head_optimizer(self._config.optimizer, self._config.gcd.head_lr)
        set_learning_rate(self.head.optimizer, settings, iteration, iterations)
        examples = [Labelled(self._encode(q), q.label) for q in questions if q.label is not None]
        return Classification(self.head, examples)

    def _encode(self, question: Question) -> Tensor:
        return self._policy.codec.encode_prompt(question.prompt)

"""An auxiliary task that is no part of the package: the actor says which room it is in.

It asks about every step what the observation's first word is, which the prompt shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from declutch.agent.prompt import observation_text, render_prediction
from declutch.config.judge import TaskTraits
from declutch.judge.env import Forecaster
from declutch.judge.labels import Labels
from declutch.judge.questions import Question
from declutch.judge.tasks import SampledTask, shown_step
from declutch.records import Episode


class ToyTask(SampledTask):
    """Repeats what the agent saw: a task with nothing to learn about the game."""

    traits = TaskTraits("Echo", "echoes", needs_labels=False, gives_advice=False)

    def ask(
        self,
        episodes: Sequence[Episode],
        sources: Mapping[str, Sequence[Labels]],
        draw: torch.Generator,
    ) -> list[Question]:
        codec = self.policy.codec
        return [
            Question(
                index,
                0,
                None,
                observation_text(episode.steps[0].observation, codec.form, codec.wording),
                render_prediction(*shown_step(self.policy, episode, 0), codec.form, codec.wording),
            )
            for index, episode in enumerate(episodes)
        ]

    def examinee(self) -> Forecaster:
        config = self.config
        return Forecaster(self.policy.codec, config.agent, config.gcd.max_response_tokens)


NO_TASK = 3

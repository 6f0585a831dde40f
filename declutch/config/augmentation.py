"""Settings of state information augmentation: distractors in the observations of training."""

from __future__ import annotations

from pydantic import Field

from declutch.config.section import Section


class AugmentationConfig(Section):
    """Settings of augmentation: distractors, texts without bearing on the goal, in training alone.

    Neither the cold start nor any evaluation ever shows one.
    """

    enabled: bool = False
    """Show the agent distractors while it is trained: state information augmentation
    (arXiv:2601.18217). Rewards, labels, possible actions and what counts as the same observation
    stay those of the environment."""
    probability: float = Field(default=0.5, gt=0, le=1)
    """The probability with which a group of episodes is played with distractors. All episodes of a
    group are, or none is: their advantages compare them with each other."""
    sentences: int = Field(default=4, ge=1)
    """How many distractors an observation gets, fewer where no more are known that name nothing at
    hand. More make the task harder: raise it until the success of training episodes suffers."""

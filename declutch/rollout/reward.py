"""Rewards of the user's own in the place of the environment's, named by train.reward."""

from __future__ import annotations

from collections.abc import Callable

from declutch.config.dotted import import_dotted
from declutch.envs.protocol import Observation, Transition
from declutch.ground.errors import UserError
from declutch.records import TaskId

Reward = Callable[[TaskId, Observation, str, Transition], float]
"""Computes the reward of one action in training: of which task, what was seen before it, the
action's text, and what it led to."""


def load_reward(name: str | None) -> Reward | None:
    """Load the reward that train.reward names, "my_module:reward"; None for the environment's own.

    Raises:
        UserError: there is no such function.
    """
    if name is None:
        return None
    try:
        found = import_dotted(name)
    except ValueError as error:
        raise UserError(f"train.reward={name!r}: {error}") from error
    if not callable(found):
        raise UserError(
            f"train.reward={name!r} is a {type(found).__name__}, no function "
            "reward(task, before, action, transition) that gives a number"
        )
    return found

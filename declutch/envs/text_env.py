"""The protocol every text environment speaks, and the suite that makes environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from declutch.records import TaskId


@dataclass(frozen=True)
class Observation:
    """What the agent sees.

    Attributes:
        text: the environment's own words, byte for byte.
        admissible: commands that would do something now, in the environment's order.
        inventory: what the agent carries, "" when nothing.
    """

    text: str
    admissible: tuple[str, ...]
    inventory: str = ""


@dataclass(frozen=True)
class Transition:
    """The outcome of one action.

    Attributes:
        observation: what the agent sees next.
        reward: reward of this action.
        is_won: the goal is reached now.
        is_done: no further action makes sense.
        score: progress in [0, 1].
    """

    observation: Observation
    reward: float
    is_won: bool
    is_done: bool
    score: float


@runtime_checkable
class TextEnv(Protocol):
    """One live environment. Not thread-safe; `reset` may be called any number of times."""

    def reset(self, task: TaskId) -> Observation:
        """Start `task` from its beginning."""
        ...

    def step(self, action: str) -> Transition:
        """Play one action; an action that makes no sense is answered, never raised."""
        ...

    def close(self) -> None:
        """Free what the environment holds."""
        ...


@runtime_checkable
class Oracle(Protocol):
    """An environment that can say, from its true state, whether an action would be good."""

    def label_action(self, action: str) -> int | None:
        """1 good, 0 bad, None undecided; to be asked before `step(action)`."""
        ...


class Suite(Protocol):
    """A family of tasks with splits, and the maker of its environments.

    Attributes:
        name: the suite's name in every TaskId.
        max_live: environments that may play at once.
    """

    name: str
    max_live: int

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """Every task of a split or level ("L0", "train", ...), in a fixed order."""
        ...

    def make_env(self) -> TextEnv:
        """A new live environment."""
        ...

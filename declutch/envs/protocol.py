"""The protocol every text environment speaks, and the suite that makes environments."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, cast, runtime_checkable

from declutch.config.env import EnvConfig
from declutch.envs.splits import Level
from declutch.envs.wording import PLAIN, Wording
from declutch.ground.errors import Finding, UserError
from declutch.records import Distractor, TaskId

Progress = Callable[[int, int], None]
"""Told (done, total) while something takes its time."""

MAX_LIVE = 512
"""Environments that play at once where a suite sets no limit."""


@dataclass(frozen=True)
class Observation:
    """An observation in the environment protocol: what the agent is shown at one step.

    Attributes:
        text: the environment's own words, byte for byte.
        admissible: commands that would do something now, in the environment's order; () where
            answers are free.
        inventory: what the agent carries, "" when nothing.
        distractors: what prompts show besides, see `AugmentedEnv`; no environment gives any.
    """

    text: str
    admissible: tuple[str, ...]
    inventory: str = ""
    distractors: tuple[Distractor, ...] = ()


@dataclass(frozen=True)
class Transition:
    """A transition in the environment protocol: what one action leads to.

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
class Forms(Protocol):
    """The protocol of admissible commands with slots, so that none can be played as it stands."""

    def draw(self, rng: random.Random) -> str:
        """Draw a command of one of the forms."""
        ...


def draw_command(
    admissible: tuple[str, ...], rng: random.Random, besides: str | None = None
) -> str | None:
    """What every `TextEnv` of the protocol offers chance: one admissible command at random.

    Returns:
        one that is not `besides`; None where there is none.
    """
    if isinstance(admissible, Forms):
        command = admissible.draw(rng)
        return command if command != besides else None
    others = [each for each in admissible if each != besides]
    return rng.choice(others) if others else None


@runtime_checkable
class TextEnv(Protocol):
    """The protocol of every live text environment; one episode at a time, not thread-safe."""

    def reset(self, task: TaskId) -> Observation:
        """Start `task` from its beginning; may be called any number of times."""
        ...

    def step(self, action: str) -> Transition:
        """Play one action; an action that makes no sense is answered, never raised."""
        ...

    def close(self) -> None:
        """Free what the environment holds."""
        ...


@runtime_checkable
class SeededEnv(Protocol):
    """The protocol of an environment in which chance plays a part, see `is_deterministic`."""

    def reset(self, task: TaskId, seed: int = 0) -> Observation:
        """Start `task`; `seed` decides what chance does until the next reset, and nothing else."""
        ...

    def step(self, action: str) -> Transition:
        """As `TextEnv`."""
        ...

    def close(self) -> None:
        """As `TextEnv`."""
        ...


@runtime_checkable
class Oracle(Protocol):
    """The protocol of an environment that can label an action good or bad from its true state."""

    def label_action(self, action: str) -> int | None:
        """Label an action before it is played: 1 good, 0 bad, None undecided."""
        ...


@runtime_checkable
class HasWalkthrough(Protocol):
    """The protocol of an environment that knows a solution of the task it was reset to."""

    @property
    def walkthrough(self) -> tuple[str, ...]:
        """Commands that win from the start; () where none is stored."""
        ...


class Advice(Protocol):
    """The protocol of an expert's advice: what it would do now, and why, at length and in short.

    At length is in sentences, in short is in two or three words.
    """

    @property
    def action(self) -> str:
        """The command to play."""
        ...

    @property
    def thought(self) -> str:
        """Why, in a sentence or two."""
        ...

    @property
    def short_thought(self) -> str:
        """Why, in two or three words; the first names the phase of the reasoning."""
        ...


class Expert(Protocol):
    """The protocol of a suite's expert: it learns from every action, its own or not.

    It may know more of its task than the agent sees, as ScienceWorld's does; then its thoughts are
    worded from its actions alone.
    """

    def reset(self, task: TaskId, observation: Observation) -> None:
        """Start with the first observation of `task`."""
        ...

    def act(self) -> Advice | None:
        """What to do now; None where it knows no way to win any more."""
        ...

    def update(self, action: str, observation: Observation) -> None:
        """Learn which action was played, whoever chose it, and what was seen then."""
        ...


class EnvSource(Protocol):
    """The protocol of whatever makes live environments: a suite, or a judge's questions."""

    def make_env(self) -> TextEnv:
        """Make a new live environment."""
        ...


class Suite(EnvSource, Protocol):
    """The protocol of a suite: a family of tasks with splits, and the maker of environments.

    That is all evaluation and training need. What a suite may offer besides is a protocol of its
    own each: `HasWording`, `HoldsOut`, `HasExpert`, `HasGuide`, `CountsGames`, `HasFolder`,
    `LimitsLive`, `Prepares`, `HasChecks`, `HasChance`; and of its environments `Oracle` and
    `HasWalkthrough`. A method that is None is not offered.
    """

    name: str

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """List every task of a split or level ("L0", "train", ...), in a fixed order."""
        ...


@runtime_checkable
class HasWording(Protocol):
    """The protocol of a suite with words for its prompts, how it shortens observations included."""

    wording: Wording


@runtime_checkable
class HasExpert(Protocol):
    """The protocol of a suite whose tasks an expert can demonstrate."""

    def make_expert(self, seed: int) -> Expert:
        """Make a new expert; `seed` varies no more than its wording."""
        ...


@runtime_checkable
class HasGuide(Protocol):
    """The protocol of a suite whose words are seen faster than by watching its expert."""

    def make_guide(self, seed: int) -> Expert:
        """Make a guide who goes where there is something to read, which is no example to follow."""
        ...


@runtime_checkable
class LimitsLive(Protocol):
    """The protocol of a suite whose environments are too heavy for any number to play at once."""

    @property
    def max_live(self) -> int:
        """How many environments may play at once."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """The protocol of a suite whose environments take long to start, and may start side by side."""

    def prepare_envs(self, num_envs: int) -> None:
        """Begin to start what so many environments need, before they are made one by one."""
        ...


@runtime_checkable
class HoldsOut(Protocol):
    """The protocol of a suite that keeps task types from training."""

    held_out_kinds: tuple[str, ...]


@runtime_checkable
class HasFolder(Protocol):
    """The protocol of a suite whose games are files below one folder."""

    root: Path


@runtime_checkable
class CountsGames(Protocol):
    """The protocol of a suite that can count its games without failing where some are absent."""

    def count_games(self) -> Mapping[str, Mapping[str, int]]:
        """Count the games by split and task type."""
        ...


@runtime_checkable
class HasChecks(Protocol):
    """The protocol of a suite that looks for its needs on this machine: packages, data, memory."""

    def diagnose(self) -> Sequence[Finding]:
        """Look for what is needed, for `declutch doctor` and `declutch envs check`."""
        ...


@runtime_checkable
class HasChance(Protocol):
    """The protocol of a suite that says whether its environments are deterministic.

    Where `is_deterministic` is False they are `SeededEnv`s. A suite that does not say is
    deterministic: equal tasks and equal actions are answered alike.
    """

    is_deterministic: bool


class SuiteSpec(NamedTuple):
    """The spec by the suite protocol: how a suite is made, what it needs, its levels and words.

    Attributes:
        make: the suite of its section of the settings; generated games are made on first use.
        diagnose: (settings, names of levels) -> what the suite needs on this machine to play these
            levels, and whether it is there; makes nothing.
        levels: every split and level under the default settings, for notes beside their names.
        wording: the words of its prompts; None where the suite has to be made to know them.
        generate: makes the games before their first use, and gives the place where they are kept;
            None for a suite whose games are not generated.
    """

    make: Callable[[EnvConfig, Progress | None], Suite]
    diagnose: Callable[[EnvConfig, Sequence[str]], list[Finding]]
    levels: Mapping[str, Level]
    wording: Wording | None = None
    generate: Callable[[EnvConfig, Progress | None], Path] | None = None


def wording_of(suite: Suite) -> Wording:
    """By the suite protocol, the words of a suite's prompts: its own, or any environment's."""
    return suite.wording if isinstance(suite, HasWording) else PLAIN


def new_expert(suite: Suite, seed: int) -> Expert:
    """By the suite protocol, make an expert. Raises UserError where the suite has none."""
    if not isinstance(suite, HasExpert):
        raise UserError(
            f"the suite {suite.name} has no expert (no make_expert(seed)), which demonstrations "
            "and the policy 'expert' need; train without a cold start, start from a model that "
            "can already play, or give the suite an expert"
        )
    return suite.make_expert(seed)


def check_levels(suite: Suite, names: Sequence[str]) -> None:
    """By the suite protocol, make sure before all else that splits and levels have tasks.

    Raises:
        UserError: one of `names` is no level of the suite, or has no task.
    """
    for name in names:
        if not suite.tasks(name):
            raise UserError(f"level {name} of suite {suite.name} has no games")


def held_out_kinds(suite: Suite) -> tuple[str, ...]:
    """By the suite protocol, the task types kept from training, () where none are."""
    return suite.held_out_kinds if isinstance(suite, HoldsOut) else ()


def is_deterministic(source: EnvSource) -> bool:
    """By the suite protocol, whether equal actions are answered alike whatever the seed."""
    return source.is_deterministic if isinstance(source, HasChance) else True


def start_env(env: TextEnv, task: TaskId, seed: int | None) -> Observation:
    """By the suite protocol, start a task with a seed of chance, or with none where it needs none.

    Args:
        seed: for an environment of a suite that is not deterministic; None for any other.
    """
    return env.reset(task) if seed is None else cast(SeededEnv, env).reset(task, seed)


def max_live(source: EnvSource) -> int:
    """By the suite protocol, how many environments of a suite or other source may play at once."""
    return source.max_live if isinstance(source, LimitsLive) else MAX_LIVE

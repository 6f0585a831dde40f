"""One iteration's groups of episodes, and fresh ones in place of those that teach nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from declutch.agent.speaker import Speaker
from declutch.config.run import Config
from declutch.envs.augmentation import Augmentation
from declutch.envs.protocol import EnvSource, Suite
from declutch.ground.streams import derive_seed, stream
from declutch.records import Episode, Outcome, TaskId
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.engine import Engine
from declutch.rollout.policy import Policy
from declutch.rollout.reward import load_reward
from declutch.rollout.tasks import draw_tasks


@dataclass(frozen=True)
class Played:
    """The groups of episodes that one training iteration played, and those that it trains on.

    Attributes:
        first: the episodes of the tasks that were drawn, whatever came of them: what success
            rates are taken over, since a refill is chosen by its outcome.
        episodes: those that are trained on.
        num_replaced: groups of equal returns that were dropped; None without dynamic sampling.
        num_refilled: groups played in their place, of whatever returns.
        refills: the episodes of these groups.
        num_augmented: groups of the tasks that were drawn that had distractors; None where no
            group could have any.
    """

    first: tuple[Episode, ...]
    episodes: tuple[Episode, ...]
    num_replaced: int | None = None
    num_refilled: int = 0
    refills: tuple[Episode, ...] = ()
    num_augmented: int | None = None


class Collect(Protocol):
    """How an iteration's groups are played: `collect`, or the same by other processes."""

    def __call__(
        self,
        plays: Sequence[Play],
        source: EnvSource,
        speaker: Speaker,
        engine: Engine,
        params: CollectParams,
        on_finished: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """Episodes in the order of `plays`; `on_finished` is told of each, for progress."""
        ...


def play_groups(
    config: Config,
    suite: Suite,
    policy: Policy,
    iteration: int,
    suggestions: tuple[str, ...] = (),
    collect_by: Collect = collect,
    augmentation: Augmentation | None = None,
) -> Played:
    """Play groups for an iteration: each task by a group of episodes from the same start.

    With `train.dynamic_sampling`, groups whose returns are all equal are dropped and as many new
    tasks are played, at most `train.max_refills` times. Where every group of an iteration is like
    that, the first ones are kept, with advantages of 0; or the others, where an environment error
    ended each of the first.

    Args:
        iteration: from 0.
        suggestions: shown in every prompt.
        collect_by: plays the episodes; in this process, unless told otherwise.
        augmentation: the distractors that some groups are played with; None for none.
    Source: Yu et al. 2025 (arXiv:2503.14476, DAPO), section 3.2. Differs: no more tasks are played
        than groups are missing.
    """
    tasks = suite.tasks(config.train.split)
    count = config.train.tasks_per_iteration
    drawn = draw_tasks(tasks, count, config.seed, iteration)
    play = partial(
        _play,
        config=config,
        suite=suite,
        policy=policy,
        iteration=iteration,
        suggestions=suggestions,
        collect_by=collect_by,
        augmentation=augmentation,
    )
    first = play(drawn, 0)
    num_augmented = None
    if augmentation is not None:
        seeds = (augmentation.seed_of(config.seed, iteration, group) for group in range(len(drawn)))
        num_augmented = sum(seed is not None for seed in seeds)
    if not config.train.dynamic_sampling:
        return Played(tuple(first), tuple(first), num_augmented=num_augmented)
    kept = informative_groups(first)
    reserve = _fresh_tasks(tasks, drawn, config.seed, iteration)
    refills: list[Episode] = []
    num_refilled = 0
    for _ in range(config.train.max_refills):
        missing = count - len({episode.group for episode in kept})
        chosen = reserve[num_refilled : num_refilled + missing]
        if not chosen:
            break
        refill = play(chosen, count + num_refilled)
        kept += informative_groups(refill)
        refills += refill
        num_refilled += len(chosen)
    return Played(
        first=tuple(first),
        episodes=tuple(kept or _first_played(first, refills)),
        num_replaced=count - len({episode.group for episode in informative_groups(first)}),
        num_refilled=num_refilled,
        refills=tuple(refills),
        num_augmented=num_augmented,
    )


def _first_played(*choices: Sequence[Episode]) -> Sequence[Episode]:
    """The first of some episodes that not all ended in an environment error; else the first."""
    played = (
        episodes
        for episodes in choices
        if any(episode.outcome is not Outcome.ENV_ERROR for episode in episodes)
    )
    return next(played, choices[0])


def informative_groups(episodes: Sequence[Episode]) -> list[Episode]:
    """Keep the episodes of groups with at least two different returns, in order, to train on.

    Episodes that ended in an environment error have no return.
    """
    returns: dict[int, set[float]] = defaultdict(set)
    for episode in episodes:
        if episode.outcome is not Outcome.ENV_ERROR:
            returns[episode.group].add(sum(step.reward for step in episode.steps))
    return [episode for episode in episodes if len(returns[episode.group]) > 1]


def broken_games(episodes: Sequence[Episode]) -> list[str]:
    """Say of groups of episodes which task and why, for each that ended in an environment error."""
    return [
        f"{episode.error} (task {episode.task.name!r})"
        for episode in episodes
        if episode.outcome is Outcome.ENV_ERROR
    ]


def _play(
    tasks: Sequence[TaskId],
    first_group: int,
    config: Config,
    suite: Suite,
    policy: Policy,
    iteration: int,
    suggestions: tuple[str, ...],
    collect_by: Collect,
    augmentation: Augmentation | None,
) -> list[Episode]:
    plays = []
    for group, task in enumerate(tasks, start=first_group):
        shared = None
        if augmentation is not None:
            shared = augmentation.seed_of(config.seed, iteration, group)
        for member in range(config.train.group_size):
            seed = derive_seed(config.seed, "play", iteration, group, member)
            plays.append(Play(task, group, seed, shared))
    return collect_by(
        plays,
        suite,
        policy.agent,
        policy.engine,
        CollectParams(
            max_steps=config.train.max_steps or config.env.max_steps,
            temperature=config.rollout.temperature,
            success_reward=config.train.success_reward,
            length_penalty=config.train.length_penalty,
            suggestions=suggestions,
            oracle_every=config.gcd.oracle_every if config.gcd.enabled else 0,
            reward=load_reward(config.train.reward),
            augmentation=augmentation,
        ),
    )


def _fresh_tasks(
    tasks: Sequence[TaskId], drawn: Sequence[TaskId], seed: int, iteration: int
) -> list[TaskId]:
    """The tasks that were not drawn, in an order of the iteration's own."""
    order = torch.randperm(len(tasks), generator=stream(seed, "refill", iteration)).tolist()
    taken = set(drawn)
    return [tasks[index] for index in order if tasks[index] not in taken]

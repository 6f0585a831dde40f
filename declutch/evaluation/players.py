"""Who can be evaluated: a model, the expert of a suite, or random play."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from declutch.config.env import EnvConfig
from declutch.config.judge import GCDConfig
from declutch.config.run import EvalConfig
from declutch.envs.protocol import (
    Advice,
    Expert,
    Suite,
    TextEnv,
    is_deterministic,
    new_expert,
    start_env,
)
from declutch.envs.wanderer import Wanderer
from declutch.ground.errors import UserError
from declutch.ground.streams import derive_seed
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId, empty_float
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.groups import Collect
from declutch.rollout.policy import Policy

SCRIPTED = ("expert", "random")
"""Policies that are no models."""


@dataclass(frozen=True)
class Player:
    """A player of an evaluation: how it plays tasks, and what its results are recorded under.

    Attributes:
        name: of the policy, for tables.
        play_games: plays games, each a task under an evaluation seed; episodes in their order.
        max_steps: steps that an episode of it may take.
        temperature: that it is sampled at; NaN where it does not sample.
        protocol: of the cold start behind it, "" without one.
    """

    name: str
    play_games: Callable[[Sequence[tuple[TaskId, int]]], list[Episode]]
    max_steps: int
    temperature: float = math.nan
    protocol: str = ""

    def play(self, tasks: Sequence[TaskId], seed: int) -> list[Episode]:
        """Play tasks under one evaluation seed; episodes in their order."""
        return self.play_games([(task, seed) for task in tasks])


def evaluation_params(env: EnvConfig, config: EvalConfig, gcd: GCDConfig) -> CollectParams:
    """How the player of an evaluation plays, as the settings say; suggestions are never shown.

    The oracle is asked for labels only where steps are judged afterwards.
    """
    return CollectParams(
        max_steps=env.max_steps,
        temperature=config.temperature,
        oracle_every=gcd.oracle_every if config.judge else 0,
        reflection=config.reflection,
    )


def model_player(
    name: str,
    policy: Policy,
    suite: Suite,
    params: CollectParams,
    protocol: str = "",
    on_finished: Callable[[Episode], None] | None = None,
    collect_by: Collect = collect,
) -> Player:
    """A language model as a player of an evaluation.

    What it samples in a game is drawn by the game and its seed alone, whatever else is played.

    Args:
        name: the model's, for tables.
        params: see `evaluation_params`.
        protocol: of its cold start, "" without one.
        on_finished: told of every finished episode, for progress.
        collect_by: plays the games; in this process, unless told otherwise.
    """

    def play(games: Sequence[tuple[TaskId, int]]) -> list[Episode]:
        plays = [
            Play(task, index, derive_seed(seed, "evaluation", 0, task.split, task.name))
            for index, (task, seed) in enumerate(games)
        ]
        return collect_by(plays, suite, policy.agent, policy.engine, params, on_finished)

    return Player(name, play, params.max_steps, params.temperature, protocol)


def scripted_player(
    name: str,
    suite: Suite,
    max_steps: int,
    on_finished: Callable[[Episode], None] | None = None,
) -> Player:
    """Players of an evaluation without a model: the suite's expert, or random choice.

    Args:
        name: "expert", or "random" for a choice among the admissible commands.
        on_finished: told of every finished episode, for progress.
    Raises:
        UserError: another name, a suite without an expert, or one without lists of commands.
    """
    if name not in SCRIPTED:
        raise UserError(f"no scripted policy is called {name!r}; there are expert and random")

    def play(games: Sequence[tuple[TaskId, int]]) -> list[Episode]:
        episodes = []
        for index, (task, seed) in enumerate(games):
            expert = new_expert(suite, seed) if name == "expert" else Wanderer(f"{seed}/{index}")
            chance = None if is_deterministic(suite) else zlib.crc32(f"{seed}/{index}".encode())
            start = _Start(task, index, chance)
            episodes.append(_play_alone(start, suite, expert, max_steps))
            if on_finished is not None:
                on_finished(episodes[-1])
        return episodes

    return Player(name, play, max_steps)


class _Start(NamedTuple):
    """What a scripted player's episode starts with.

    Attributes:
        seed: of chance in the environment; None where it knows none.
    """

    task: TaskId
    group: int
    seed: int | None


def _play_alone(start: _Start, suite: Suite, expert: Expert, max_steps: int) -> Episode:
    """An episode of a scripted player; one that fails is an environment error, as a model's is."""
    try:
        return _play_scripted(start, suite, expert, max_steps)
    except _CannotPlayError as error:
        raise UserError(str(error)) from None
    # Anything else that an environment or its expert raises ends one game, not the evaluation.
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return Episode(
            start.task, start.group, Role.AGENT, (), Outcome.ENV_ERROR, 0.0, error=message
        )


class _CannotPlayError(Exception):
    """What the player can choose no command in, which is no failure of one game."""


def _play_scripted(start: _Start, suite: Suite, expert: Expert, max_steps: int) -> Episode:
    env = suite.make_env()
    try:
        return _play_in(env, start, expert, max_steps)
    finally:
        env.close()


def _advice(expert: Expert) -> Advice | None:
    try:
        return expert.act()
    except UserError as error:
        raise _CannotPlayError(str(error)) from error


def _play_in(env: TextEnv, start: _Start, expert: Expert, max_steps: int) -> Episode:
    task, group, seed = start
    observation = start_env(env, task, seed)
    expert.reset(task, observation)
    steps: list[Step] = []
    outcome, score = Outcome.TIMED_OUT, 0.0
    while len(steps) < max_steps:
        advice = _advice(expert)
        if advice is None:
            outcome = Outcome.FAILED
            break
        text = advice.action
        transition = env.step(text)
        is_admissible = text in observation.admissible or not observation.admissible
        action = Action(text, "", "", True, is_admissible)
        nothing = empty_float()
        steps.append(
            Step(
                observation=observation.text,
                inventory=observation.inventory,
                admissible=observation.admissible,
                action=action,
                prompt_ids=nothing.long(),
                response_ids=nothing.long(),
                sample_logprobs=nothing,
                reward=transition.reward,
            )
        )
        observation, score = transition.observation, transition.score
        expert.update(text, observation)
        if transition.is_won or transition.is_done:
            outcome = Outcome.WON if transition.is_won else Outcome.FAILED
            break
    return Episode(task, group, Role.AGENT, tuple(steps), outcome, score, observation.text)

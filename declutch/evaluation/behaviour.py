"""What an agent's actions look like, whatever they achieve: repeats, loops, format, length.

A *repeated* action has the same text as the action of the step before. A *looped* action lies in
a stretch where a block of 2 to 6 actions, not all equal, is followed at once by the same block; the
first occurrence and the second both count, as both belong to the loop. An action can be repeated
and looped at once (`a a b a a b`). An action of which no text could be read equals nothing, so it
is neither; it is counted as invalid.

*Invalid* means the response lacked the required format; *inadmissible* means a well-formed response
named a command that was not admissible. The two exclude each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from declutch.records import Episode

MIN_BLOCK = 2
MAX_BLOCK = 6


@dataclass(frozen=True)
class ActionCounts:
    """Behaviour of an agent as counts of its steps: repeated, looped, invalid, inadmissible, ...

    Attributes:
        steps: all steps.
        repeated, looped, invalid, inadmissible: see the module's definitions.
        repeated_or_looped: steps that are either.
        response_tokens: sampled tokens of all responses, stop tokens included.
    """

    steps: int = 0
    repeated: int = 0
    looped: int = 0
    repeated_or_looped: int = 0
    invalid: int = 0
    inadmissible: int = 0
    response_tokens: int = 0


@dataclass(frozen=True)
class Shares:
    """Behaviour of an agent as shares of its steps; NaN where there is no step or no episode.

    Attributes:
        num_episodes: episodes behind the shares.
        num_steps: mean steps of an episode.
        response_tokens: mean tokens of a response.
        repeated, looped, repeated_or_looped, invalid, inadmissible: shares of all steps, in [0, 1].
    """

    num_episodes: int
    num_steps: float
    response_tokens: float
    repeated: float
    looped: float
    repeated_or_looped: float
    invalid: float
    inadmissible: float


@dataclass(frozen=True)
class Behaviour:
    """An agent's behaviour over a set of episodes: in all, in the won, and in the other ones."""

    all: Shares
    won: Shares
    failed: Shares


def mark_repeated(actions: Sequence[str]) -> list[bool]:
    """Mark repeating behaviour of agents: the text of the action before, where it could be read."""
    return [
        position > 0 and bool(action) and action == actions[position - 1]
        for position, action in enumerate(actions)
    ]


def mark_looped(actions: Sequence[str]) -> list[bool]:
    """Mark looping behaviour: 2 to 6 actions, not all equal, that an agent repeats at once."""
    looped = [False] * len(actions)
    for size in range(MIN_BLOCK, MAX_BLOCK + 1):
        for start in range(len(actions) - 2 * size + 1):
            block = actions[start : start + size]
            follower = actions[start + size : start + 2 * size]
            if block == follower and all(block) and len(set(block)) > 1:
                looped[start : start + 2 * size] = [True] * (2 * size)
    return looped


def count_actions(episode: Episode) -> ActionCounts:
    """Count an agent's behaviour in an episode: repeated, looped, invalid, inadmissible actions."""
    actions = [step.action.text for step in episode.steps]
    repeated, looped = mark_repeated(actions), mark_looped(actions)
    return ActionCounts(
        steps=len(actions),
        repeated=sum(repeated),
        looped=sum(looped),
        repeated_or_looped=sum(a or b for a, b in zip(repeated, looped, strict=True)),
        invalid=sum(not step.action.is_valid for step in episode.steps),
        inadmissible=sum(
            step.action.is_valid and not step.action.is_admissible for step in episode.steps
        ),
        response_tokens=sum(int(step.response_ids.numel()) for step in episode.steps),
    )


def shares_of(counts: Iterable[ActionCounts]) -> Shares:
    """Behaviour of an agent over several episodes, as shares of repeated, looped, ... actions."""
    rows = list(counts)
    total = ActionCounts(
        **{field.name: sum(map(attrgetter(field.name), rows)) for field in fields(ActionCounts)}
    )
    return Shares(
        num_episodes=len(rows),
        num_steps=_ratio(total.steps, len(rows)),
        response_tokens=_ratio(total.response_tokens, total.steps),
        repeated=_ratio(total.repeated, total.steps),
        looped=_ratio(total.looped, total.steps),
        repeated_or_looped=_ratio(total.repeated_or_looped, total.steps),
        invalid=_ratio(total.invalid, total.steps),
        inadmissible=_ratio(total.inadmissible, total.steps),
    )


def describe_behaviour(episodes: Iterable[Episode]) -> Behaviour:
    """Describe an agent's behaviour over all episodes, the won ones and the others, as shares.

    Episodes that ended in an environment error are the caller's to leave out.
    """
    counted = [(count_actions(episode), episode.is_won) for episode in episodes]
    return Behaviour(
        all=shares_of(counts for counts, _ in counted),
        won=shares_of(counts for counts, is_won in counted if is_won),
        failed=shares_of(counts for counts, is_won in counted if not is_won),
    )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan

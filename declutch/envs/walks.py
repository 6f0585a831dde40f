"""Walks that `declutch envs check` takes through environments, and how two are compared."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from declutch.envs.protocol import Observation, TextEnv, Transition, draw_command
from declutch.records import TaskId

NONSENSE = "xyzzy 7 plugh"
ODD_ACTIONS = ("", NONSENSE, "</action>", "0", "word " * 2000)
NUM_STEPS = 30

Moment = tuple[Observation, float, bool, bool, float]
"""What one action (or a reset) led to: observation, reward, won, done, score."""


class Broken(Exception):
    """A requirement that a walk of an environment check found broken, and where."""


@dataclass
class Walk:
    """A walk of an environment check: what was done, and what was seen, the reset first.

    Attributes:
        actions: what was played, in order.
        moments: what each of them led to, after what the reset gave: one more than actions.
    """

    task: TaskId
    actions: list[str] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)


def walk(env: TextEnv, task: TaskId, actions: Sequence[str] | None = None) -> Walk:
    """Walk through an environment to check it, by given actions or random ones, some nonsense.

    The choices are a function of the task and of what is seen.
    """
    draw = random.Random(f"{task.split} {task.name}")
    episode = Walk(task)
    start(env, episode)
    while len(episode.actions) < (NUM_STEPS if actions is None else len(actions)):
        if actions is not None:
            action = actions[len(episode.actions)]
        else:
            choices = episode.moments[-1][0].admissible or ODD_ACTIONS
            action = NONSENSE if draw.random() < 0.1 else draw_command(choices, draw) or NONSENSE
        advance(env, episode, action)
        if episode.moments[-1][3]:
            break
    return episode


def note(episode: Walk, seen: Observation | Transition) -> None:
    """Add what was seen to an environment check's walk. Raises Broken if no observation."""
    if isinstance(seen, Transition):
        moment = (seen.observation, seen.reward, seen.is_won, seen.is_done, seen.score)
    else:
        moment = (seen, 0.0, False, False, 0.0)
    if not isinstance(moment[0], Observation):
        raise Broken(f"{place_of(episode)} gives {type(moment[0]).__name__}, not an Observation")
    episode.moments.append(moment)


def start(env: TextEnv, episode: Walk) -> None:
    """Start an environment check's walk. Raises Broken where reset gives no Observation."""
    try:
        first = env.reset(episode.task)
    except Exception as error:
        raise Broken(f"{place_of(episode, 0)} {describe_raised(error)}") from error
    note(episode, first)


def describe_raised(error: BaseException) -> str:
    """Describe what an environment raised on a walk, and the line of its code that raised it."""
    text = f"raises {type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    last = frames[-1]
    code = f": {last.line}" if last.line else ""
    return f"{text} ({Path(last.filename).name}, line {last.lineno}{code})"


def advance(env: TextEnv, episode: Walk, action: str) -> None:
    """Play one more action of an environment check's walk.

    Raises:
        Broken: the step fails, or gives no transition; it names task, action and line.
    """
    try:
        transition = env.step(action)
    except Exception as error:
        number = len(episode.actions) + 1
        place = f"{episode.task.name!r}, step {number} ({action[:30]!r})"
        raise Broken(f"{place} {describe_raised(error)}") from error
    episode.actions.append(action)
    if not isinstance(transition, Transition):
        raise Broken(f"{place_of(episode)} gives {type(transition).__name__}, not a Transition")
    note(episode, transition)


def answer_to(env: TextEnv, task: TaskId, before: Sequence[str], action: str) -> Observation:
    """Walk by given actions and one more: an environment's answer to it, without its own words."""
    seen = walk(env, task, [*before, action]).moments[-1][0]
    return Observation(seen.text.replace(action, ""), seen.admissible, seen.inventory)


@contextmanager
def other_chance(seed: int) -> Iterator[None]:
    """For a walk, put Python's and NumPy's global random state into another for a while."""
    state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


def expect_same(found: Walk, wanted: Walk, how: str) -> None:
    """Compare two walks of an environment check, which are to be the same.

    Args:
        how: how `found` was played, for the message.
    Raises:
        Broken: the first moment that differs.
    """
    for number, (one, other) in enumerate(zip(wanted.moments, found.moments, strict=False)):
        if one != other:
            what = f"(reward, won, done, score) {one[1:]}, then {other[1:]}"
            if one[0] != other[0]:
                what = first_difference(one[0], other[0])
            raise Broken(f"{place_of(wanted, number)}, {how}: {what}")
    if len(wanted.moments) != len(found.moments):
        raise Broken(f"{wanted.task.name!r}, {how}: it ends at another step")


def first_difference(one: Observation, other: Observation) -> str:
    """The first field in which two unequal observations of walks differ, with both values."""
    names = ("text", "inventory", "admissible")
    name = next(n for n in names if getattr(one, n) != getattr(other, n))
    return f"{name} {getattr(one, name)!r:.60}, then {getattr(other, name)!r:.60}"


def place_of(episode: Walk, number: int | None = None) -> str:
    """Name a place of an environment check's walk: task, and action that led to moment `number`."""
    number = len(episode.actions) if number is None else number
    if number == 0:
        return f"{episode.task.name!r}, reset"
    return f"{episode.task.name!r}, step {number} ({episode.actions[number - 1][:30]!r})"

"""What `declutch envs check` looks at: a suite, and walks through some tasks of every level."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from declutch.envs.protocol import (
    Forms,
    HasExpert,
    LimitsLive,
    Observation,
    Suite,
    TextEnv,
    draw_command,
)
from declutch.envs.splits import USUAL_LEVELS
from declutch.envs.walks import (
    NONSENSE,
    NUM_STEPS,
    Broken,
    Walk,
    advance,
    describe_raised,
    place_of,
    start,
    walk,
)
from declutch.ground.errors import UserError
from declutch.records import TaskId

TASKS_PER_LEVEL = 3
MAX_COMPARED, FEW_COMPARED = 60, 3
"""Tasks of a level that are compared with those of the others, and of environments that are costly
to start."""
MAX_WALKS = 12
"""Walks by which a task is told from others, at most."""


class Doubtful(Exception):
    """What an environment check's subject leaves in doubt: untried, or true for some uses only."""


@dataclass(frozen=True)
class Subject:
    """The subject of an environment check: a suite, some tasks of every level, and walks kept.

    Live environments may be costly to make, so that walks and plays are kept.
    """

    suite: Suite
    tasks: tuple[TaskId, ...]
    walks: dict[TaskId, Walk] = field(default_factory=dict)
    plays: list[Walk] = field(default_factory=list)

    @staticmethod
    def of(suite: Suite) -> Subject:
        """Choose the tasks of every level that are looked at, all kinds in turn."""
        chosen: list[TaskId] = []
        for level in USUAL_LEVELS:
            by_kind: dict[str, TaskId] = {}
            tasks = tasks_of(suite, level)
            for task in tasks:
                by_kind.setdefault(task.kind, task)
            chosen += list(dict.fromkeys([*by_kind.values(), *tasks]))[:TASKS_PER_LEVEL]
        return Subject(suite, tuple(dict.fromkeys(chosen)))

    @property
    def num_compared(self) -> int:
        """How many tasks of a level are compared with those of the others."""
        return FEW_COMPARED if isinstance(self.suite, LimitsLive) else MAX_COMPARED

    @contextmanager
    def env(self) -> Iterator[TextEnv]:
        """A live environment for as long as the block runs."""
        env = self.suite.make_env()
        try:
            yield env
        finally:
            env.close()

    def walk(self, task: TaskId) -> Walk:
        """A walk through a task, taken once in an environment of its own."""
        if task not in self.walks:
            with self.env() as env:
                self.walks[task] = walk(env, task)
        return self.walks[task]


def tasks_of(suite: Suite, level: str) -> tuple[TaskId, ...]:
    """The tasks of a level of an environment check's subject; () without any, or such a level."""
    try:
        return suite.tasks(level)
    except UserError:
        return ()


def expert_plays(subject: Subject) -> list[Walk]:
    """The expert's episodes on an environment check's subject, once a task; [] without expert."""
    if not isinstance(subject.suite, HasExpert) or subject.plays:
        return subject.plays
    plays = []
    with subject.env() as env:
        for task in subject.tasks:
            plays.append(expert_play(env, subject.suite, task))
    subject.plays.extend(plays)
    return subject.plays


def expert_play(env: TextEnv, suite: HasExpert, task: TaskId) -> Walk:
    """The expert's episode of one task of an environment check's subject, as far as it knows."""
    expert, episode = suite.make_expert(0), Walk(task)
    start(env, episode)
    expert.reset(task, episode.moments[0][0])
    while len(episode.actions) < NUM_STEPS and not episode.moments[-1][3]:
        try:
            advice = expert.act()
        except Exception as error:
            place = place_of(episode)
            raise Broken(f"{place}: the expert's act() {describe_raised(error)}") from error
        if advice is None:
            break
        advance(env, episode, advice.action)
        expert.update(advice.action, episode.moments[-1][0])
    return episode


Fingerprint = str
"""A digest of what a number of walks through a task saw; tasks that play alike have the same."""


def fingerprint(subject: Subject, task: TaskId) -> Fingerprint:
    """What walks through a task of an environment check's subject see, whatever it is called.

    A walk that comes to an early end is followed by another, which leaves out what ended the ones
    before, so that the task is looked around in.
    """
    suite, walks, ends = subject.suite, list[Walk](), set[tuple[str, str]]()
    with subject.env() as env:
        for number in range(MAX_WALKS):
            walks.append(_walk_around(env, task, random.Random(number), ends))
            if sum(len(episode.actions) for episode in walks) >= 2 * NUM_STEPS:
                break
        if isinstance(suite, HasExpert):
            walks.append(expert_play(env, suite, task))
    seen = [
        (moment[0].text, moment[0].inventory, tuple(moment[0].admissible), *moment[1:])
        for episode in walks
        for moment in (*episode.moments, (_END, 0.0, False, False, 0.0))
    ]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def _walk_around(
    env: TextEnv, task: TaskId, draw: random.Random, ends: set[tuple[str, str]]
) -> Walk:
    """A random walk that leaves out the actions that ended others where they were seen.

    Args:
        ends: observations and the actions that ended a walk there; grows.
    """
    episode = Walk(task)
    start(env, episode)
    while len(episode.actions) < NUM_STEPS:
        seen = episode.moments[-1][0]
        choices = tuple(each for each in seen.admissible if (seen.text, each) not in ends)
        action = draw_command(choices or seen.admissible, draw) or NONSENSE
        if isinstance(seen.admissible, Forms):
            action = draw_command(seen.admissible, draw) or NONSENSE
        advance(env, episode, action)
        if episode.moments[-1][3]:
            ends.add((seen.text, action))
            break
    return episode


_END = Observation("", ())
"""Stands between two walks."""

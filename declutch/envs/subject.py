"""What `declutch envs check` looks at: a suite, and walks through some tasks of every level."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from declutch.envs.protocol import HasExpert, Suite, TextEnv
from declutch.envs.splits import USUAL_LEVELS
from declutch.envs.walks import NUM_STEPS, Walk, advance, note, walk
from declutch.ground.errors import UserError
from declutch.records import TaskId

TASKS_PER_LEVEL = 3


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
            expert, episode = subject.suite.make_expert(0), Walk(task)
            note(episode, env.reset(task))
            expert.reset(task, episode.moments[0][0])
            while len(episode.actions) < NUM_STEPS and not episode.moments[-1][3]:
                advice = expert.act()
                if advice is None:
                    break
                advance(env, episode, advice.action)
                expert.update(advice.action, episode.moments[-1][0])
            plays.append(episode)
    subject.plays.extend(plays)
    return subject.plays

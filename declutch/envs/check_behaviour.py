"""How environments have to behave: the same each time, apart from each other, and never failing.

Each function tries one requirement, gives the detail to show, and raises `Broken` or `Doubtful`.
"""

from __future__ import annotations

import random
import time

from declutch.envs.protocol import Oracle
from declutch.envs.subject import Doubtful, Subject
from declutch.envs.walks import (
    NONSENSE,
    ODD_ACTIONS,
    Broken,
    Walk,
    advance,
    answer_to,
    expect_same,
    first_difference,
    note,
    other_chance,
    place_of,
    walk,
)

SLOW_STEPS_PER_SECOND = 100.0
MAX_COMMANDS = 25


def check_reset(subject: Subject) -> str:
    """Check the behaviour of reset: a task starts alike each time and in every environment."""
    for task in subject.tasks:
        with subject.env() as env, subject.env() as other:
            first, again = env.reset(task), env.reset(task)
            with other_chance(1):
                elsewhere = other.reset(task)
        for seen, place in ((again, "again"), (elsewhere, "in another environment")):
            if seen != first:
                raise Broken(f"{task.name!r}, reset {place}: {first_difference(first, seen)}")
    return f"{len(subject.tasks)} tasks"


def check_steps(subject: Subject) -> str:
    """Check an environment's behaviour: equal actions, equal answers, whatever random state."""
    for task in subject.tasks:
        episode = subject.walk(task)
        with other_chance(2), subject.env() as env:
            expect_same(walk(env, task, episode.actions), episode, "played twice")
    return f"{len(subject.tasks)} walks, each played twice"


def check_episodes(subject: Subject) -> str:
    """Check an environment's behaviour: an episode leaves nothing behind for the next one."""
    alone = [subject.walk(task) for task in subject.tasks]
    with subject.env() as env:
        for before, episode in zip(alone, [*alone[1:], alone[0]], strict=True):
            walk(env, before.task, before.actions)
            after = walk(env, episode.task, episode.actions)
            expect_same(after, episode, f"played after {before.task.name!r}")
    return f"{len(alone)} walks, each played after another"


def check_environments(subject: Subject) -> str:
    """Check the behaviour of two live environments: they know nothing of each other."""
    alone = [subject.walk(task) for task in subject.tasks]
    for one, other in zip(alone, [*alone[1:], alone[0]], strict=True):
        with subject.env() as env, subject.env() as beside:
            pairs = [(env, one, Walk(one.task)), (beside, other, Walk(other.task))]
            for live, _, copy in pairs:
                note(copy, live.reset(copy.task))
            for number in range(max(len(one.actions), len(other.actions))):
                for live, episode, copy in pairs:
                    if number < len(episode.actions):
                        advance(live, copy, episode.actions[number])
            for _, episode, copy in pairs:
                expect_same(copy, episode, "played beside another environment")
    return f"{len(alone)} pairs in step"


def check_commands(subject: Subject) -> str:
    """Check an environment's behaviour: admissible commands are answered unlike nonsense."""
    num_tried = 0
    with subject.env() as env:
        for task in subject.tasks:
            episode = subject.walk(task)
            for position in range(0, len(episode.moments), 6):
                if episode.moments[position][3]:
                    break
                before = episode.actions[:position]
                refused = answer_to(env, task, before, NONSENSE)
                commands = episode.moments[position][0].admissible
                draw = random.Random(f"{task.name} {position}")
                for command in draw.sample(commands, min(len(commands), MAX_COMMANDS)):
                    num_tried += 1
                    if answer_to(env, task, before, command) == refused:
                        where = place_of(episode, position)
                        raise Broken(f"{where}: {command!r} is listed, but answered like nonsense")
    if not num_tried:
        return "none listed: answers are free"
    return f"{num_tried} commands tried"


def check_nonsense(subject: Subject) -> str:
    """Check an environment's behaviour: it answers an action that makes no sense."""
    with subject.env() as env:
        for task in subject.tasks:
            for action in ODD_ACTIONS:
                env.reset(task)
                try:
                    env.step(action)
                except Exception as error:
                    raise Broken(f"{task.name!r}: {action[:20]!r} raises {error!r}") from error
    return f"{len(ODD_ACTIONS)} odd actions answered"


def check_oracle(subject: Subject) -> str:
    """Check an oracle's behaviour: it says 1, 0 or None, and asking changes nothing."""
    with subject.env() as env:
        if not isinstance(env, Oracle):
            return "none; gcd.labels=rule needs none"
        for task in subject.tasks:
            alone = subject.walk(task)
            copy = Walk(task)
            note(copy, env.reset(task))
            for action in alone.actions:
                label = env.label_action(action)
                if label not in (0, 1, None):
                    raise Broken(f"{place_of(copy)}: label_action({action!r}) is {label!r}")
                advance(env, copy, action)
            expect_same(copy, alone, "played with labels asked for")
    return "labels 1, 0 or None"


def check_speed(subject: Subject) -> str:
    """Check an environment's behaviour: measure its steps per second on this machine."""
    began, num_steps = time.perf_counter(), 0
    with subject.env() as env:
        for task in subject.tasks:
            num_steps += len(walk(env, task).actions)
    rate = num_steps / max(time.perf_counter() - began, 1e-9)
    if rate < SLOW_STEPS_PER_SECOND:
        raise Doubtful(f"{rate:.0f} steps/s, resets included")
    return f"{rate:,.0f} steps/s, resets included"

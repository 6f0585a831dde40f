"""How environments have to behave: the same each time, apart from each other, and never failing.

Each function tries one requirement, gives the detail to show, and raises `Broken` or `Doubtful`.
"""

from __future__ import annotations

import random
import time

from declutch.envs.protocol import Observation, Oracle, TextEnv, is_deterministic, start_env
from declutch.envs.subject import Doubtful, Subject
from declutch.envs.walks import (
    NONSENSE,
    ODD_ACTIONS,
    Broken,
    Walk,
    advance,
    answer_to,
    describe_raised,
    expect_same,
    first_difference,
    other_chance,
    place_of,
    start,
    walk,
)
from declutch.records import TaskId

SLOW_STEPS_PER_SECOND = 100.0
MAX_COMMANDS = 25
NUM_SEEDS = 8
"""Seeds of chance that are tried."""


def check_reset(subject: Subject) -> str:
    """Check the behaviour of reset: a task starts alike each time and in every environment."""
    for task in subject.tasks:
        with subject.env() as env, subject.env() as other:
            first, again = (_reset(env, task) for _ in range(2))
            with other_chance(1):
                elsewhere = _reset(other, task)
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
                start(live, copy)
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
                    place = f"{task.name!r}: {action[:20]!r}"
                    raise Broken(f"{place} {describe_raised(error)}") from error
    return f"{len(ODD_ACTIONS)} odd actions answered"


def check_oracle(subject: Subject) -> str:
    """Check an oracle's behaviour: it says 1, 0 or None, and asking changes nothing."""
    with subject.env() as env:
        if not isinstance(env, Oracle):
            return "none; gcd.labels=rule needs none"
        for task in subject.tasks:
            alone = subject.walk(task)
            copy = Walk(task)
            start(env, copy)
            for action in alone.actions:
                try:
                    label = env.label_action(action)
                except Exception as error:
                    place = f"{place_of(copy)}: label_action({action!r})"
                    raise Broken(f"{place} {describe_raised(error)}") from error
                if label not in (0, 1, None):
                    raise Broken(f"{place_of(copy)}: label_action({action!r}) is {label!r}")
                advance(env, copy, action)
            expect_same(copy, alone, "played with labels asked for")
    return "labels 1, 0 or None"


def check_chance(subject: Subject) -> str:
    """Check the behaviour of an environment with chance: that another seed leads elsewhere."""
    if is_deterministic(subject.suite):
        return "none: equal actions are answered alike"
    for task in subject.tasks:
        actions = subject.walk(task).actions
        plays = set()
        for seed in range(NUM_SEEDS):
            with subject.env() as env:
                seen = [start_env(env, task, seed)]
                for action in actions:
                    transition = env.step(action)
                    seen.append(transition.observation)
                    if transition.is_done:
                        break
                plays.add(tuple(seen))
        if len(plays) > 1:
            return f"{task.name!r} goes {len(plays)} ways by {NUM_SEEDS} seeds"
    raise Doubtful(
        f"is_deterministic=False, but {NUM_SEEDS} seeds made no difference in {len(subject.tasks)} "
        "tasks"
    )


def _reset(env: TextEnv, task: TaskId) -> Observation:
    """What a reset gives. Raises Broken where it fails."""
    episode = Walk(task)
    start(env, episode)
    return episode.moments[0][0]


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

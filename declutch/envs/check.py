"""What training and evaluation rely on in an environment, tried out on one.

Every check plays short walks and says what broke the rule, at which task and step. Environments
need not be picklable: processes make their own.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from declutch.envs.diagnosis import own_findings
from declutch.envs.protocol import HasExpert, Oracle, Suite, TextEnv, held_out_kinds
from declutch.envs.splits import USUAL_LEVELS
from declutch.envs.walks import (
    NONSENSE,
    NUM_STEPS,
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
from declutch.errors import Finding, Status, UserError
from declutch.records import TaskId

TASKS_PER_LEVEL = 3
SLOW_STEPS_PER_SECOND = 100.0
MAX_COMMANDS = 25


class Doubtful(Exception):
    """A rule that could not be tried, or holds only for some uses."""


@dataclass(frozen=True)
class Subject:
    """What is checked, and with which tasks: some of every level, all kinds in turn.

    Live environments may be costly to make, so that walks and plays are kept.
    """

    suite: Suite
    tasks: tuple[TaskId, ...]
    walks: dict[TaskId, Walk] = field(default_factory=dict)
    plays: list[Walk] = field(default_factory=list)

    @staticmethod
    def of(suite: Suite) -> Subject:
        chosen: list[TaskId] = []
        for level in USUAL_LEVELS:
            by_kind: dict[str, TaskId] = {}
            tasks = _level(suite, level)
            for task in tasks:
                by_kind.setdefault(task.kind, task)
            chosen += list(dict.fromkeys([*by_kind.values(), *tasks]))[:TASKS_PER_LEVEL]
        return Subject(suite, tuple(dict.fromkeys(chosen)))

    @contextmanager
    def env(self) -> Iterator[TextEnv]:
        env = self.suite.make_env()
        try:
            yield env
        finally:
            env.close()

    def walk(self, task: TaskId) -> Walk:
        """A walk in an environment of its own."""
        if task not in self.walks:
            with self.env() as env:
                self.walks[task] = walk(env, task)
        return self.walks[task]


@dataclass(frozen=True)
class Check:
    """A rule: its name, how it is tried, and what to do where it does not hold.

    `run` gives the detail to show, and raises `Broken` or `Doubtful`.
    """

    name: str
    run: Callable[[Subject], str]
    remedy: str


def check_suite(suite: Suite) -> list[Finding]:
    """Try every rule. One that fails does not keep the others from being tried."""
    try:
        subject = Subject.of(suite)
    # The environment is someone else's: whatever it raises is a finding.
    except Exception as error:
        return [Finding("tasks", Status.PROBLEM, _describe(error), CHECKS[0].remedy)]
    if not subject.tasks:
        return [Finding("tasks", Status.PROBLEM, "no level has a task", CHECKS[0].remedy)]
    return [*(_run(check, subject) for check in CHECKS), *own_findings(suite)]


def _run(check: Check, subject: Subject) -> Finding:
    try:
        return Finding(check.name, Status.OK, check.run(subject))
    except Doubtful as doubt:
        return Finding(check.name, Status.WARN, str(doubt), check.remedy)
    except Broken as fault:
        return Finding(check.name, Status.PROBLEM, str(fault), check.remedy)
    except Exception as error:
        return Finding(check.name, Status.PROBLEM, _describe(error), check.remedy)


def check_tasks(subject: Subject) -> str:
    """Tasks are named once, belong to the suite, and are the same each time they are asked for."""
    suite, counts, absent = subject.suite, [], []
    for level in USUAL_LEVELS:
        tasks = _level(suite, level)
        if not tasks:
            absent.append(level)
            continue
        counts.append(f"{level} {len(tasks)}")
        for task in tasks:
            if task.suite != suite.name:
                raise Broken(
                    f"{level}: {task.name!r} is of suite {task.suite!r}, not {suite.name!r}"
                )
        keys = [(task.split, task.name) for task in tasks]
        if len(set(keys)) < len(keys):
            raise Broken(f"{level}: {_repeated(keys)!r} is there twice")
        with subject.env() as env:
            # A suite may keep its list: one's own environment is asked for it anew.
            again = tuple(getattr(env, "tasks", suite.tasks)(level))
        if again != tasks:
            raise Broken(f"{level}: asked again, other tasks")
    if "train" in absent:
        raise Broken("no task to train on: tasks('train') is empty")
    if absent:
        raise Doubtful(f"{', '.join(counts)}; none for {', '.join(absent)}")
    return ", ".join(counts)


def check_levels(subject: Subject) -> str:
    """No level repeats a training task; held-out kinds are in L2 only, and L2 has no other."""
    suite, held_out = subject.suite, set(held_out_kinds(subject.suite))
    trained = {task.name: task for task in _level(suite, "train")}
    for level in USUAL_LEVELS[1:]:
        tasks = _level(suite, level)
        for task in tasks:
            if held_out and (task.kind in held_out) != (level == "L2"):
                word = "is held out" if task.kind in held_out else "is not held out"
                raise Broken(f"{level}: {task.name!r} is of kind {task.kind!r}, which {word}")
        namesakes = [task for task in tasks if task.name in trained]
        for task in namesakes[:TASKS_PER_LEVEL]:
            episode = subject.walk(task)
            with subject.env() as env:
                same = walk(env, trained[task.name], episode.actions)
            if same.moments == episode.moments:
                raise Broken(f"{level}: {task.name!r} plays exactly like the training task")
    if not held_out:
        raise Doubtful("apart; but no kind is held out, so that L2 is no new type of task")
    return f"apart; held out: {', '.join(sorted(held_out))}"


def check_types(subject: Subject) -> str:
    """Texts are text, truth is bool, numbers are numbers."""
    for task in subject.tasks:
        episode = subject.walk(task)
        for number, (seen, reward, won, done, score) in enumerate(episode.moments):
            where = place_of(episode, number)
            if not isinstance(seen.text, str) or not isinstance(seen.inventory, str):
                raise Broken(f"{where}: text or inventory is no str")
            if not isinstance(seen.admissible, tuple):
                raise Broken(f"{where}: admissible is a {type(seen.admissible).__name__}, no tuple")
            if not all(isinstance(command, str) and command for command in seen.admissible):
                raise Broken(f"{where}: admissible has {seen.admissible!r}")
            if len(set(seen.admissible)) < len(seen.admissible):
                raise Broken(f"{where}: {_repeated(seen.admissible)!r} is admissible twice")
            if type(won) is not bool or type(done) is not bool:
                raise Broken(f"{where}: is_won={won!r}, is_done={done!r} are no bool")
            if not all(isinstance(x, float | int) and math.isfinite(x) for x in (reward, score)):
                raise Broken(f"{where}: reward={reward!r}, score={score!r} are no finite numbers")
        if not episode.moments[0][0].text.strip():
            raise Broken(f"{place_of(episode, 0)}: the first observation is empty")
    return f"{len(subject.tasks)} walks"


def check_score(subject: Subject) -> str:
    """Scores are in [0, 1], and 1 once won."""
    scores = []
    for episode in [subject.walk(task) for task in subject.tasks] + _expert_plays(subject):
        for number, (_, _, won, _, score) in enumerate(episode.moments):
            scores.append(score)
            if not 0.0 <= score <= 1.0:
                raise Broken(f"{place_of(episode, number)}: score={score}")
            if won and score != 1.0:
                raise Broken(f"{place_of(episode, number)}: won with score={score}")
    return f"{min(scores):g} to {max(scores):g}"


def check_reset(subject: Subject) -> str:
    """A task starts alike in every environment, and again in the same one."""
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
    """The same actions lead to the same answers, whatever the global random generators hold."""
    for task in subject.tasks:
        episode = subject.walk(task)
        with other_chance(2), subject.env() as env:
            expect_same(walk(env, task, episode.actions), episode, "played twice")
    return f"{len(subject.tasks)} walks, each played twice"


def check_episodes(subject: Subject) -> str:
    """An episode leaves nothing behind for the next one in the same environment."""
    alone = [subject.walk(task) for task in subject.tasks]
    with subject.env() as env:
        for before, episode in zip(alone, [*alone[1:], alone[0]], strict=True):
            walk(env, before.task, before.actions)
            after = walk(env, episode.task, episode.actions)
            expect_same(after, episode, f"played after {before.task.name!r}")
    return f"{len(alone)} walks, each played after another"


def check_environments(subject: Subject) -> str:
    """Two live environments know nothing of each other."""
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
    """Every admissible command is answered differently from nonsense."""
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
    """An action that makes no sense is answered."""
    with subject.env() as env:
        for task in subject.tasks:
            for action in ODD_ACTIONS:
                env.reset(task)
                try:
                    env.step(action)
                except Exception as error:
                    raise Broken(f"{task.name!r}: {action[:20]!r} raises {error!r}") from error
    return f"{len(ODD_ACTIONS)} odd actions answered"


def check_end(subject: Subject) -> str:
    """Won is done and rewarded, nothing is won at the start, and there is always a way on."""
    num_won = 0
    for episode in [subject.walk(task) for task in subject.tasks] + _expert_plays(subject):
        is_free = not episode.moments[0][0].admissible
        for number, (seen, reward, won, done, _) in enumerate(episode.moments):
            where = place_of(episode, number)
            if won and not done:
                raise Broken(f"{where}: is_won without is_done")
            if won and not reward > 0:
                raise Broken(f"{where}: won, but the reward is {reward}")
            if not done and not seen.admissible and not is_free:
                raise Broken(f"{where}: not done, but no command is admissible")
            num_won += won
    if not num_won:
        raise Doubtful("no walk won, so what winning is like was not seen")
    return f"{num_won} episodes won"


def check_spelling(subject: Subject) -> str:
    """Commands survive being read from a response, and written by a tiny model."""
    for task in subject.tasks:
        episode = subject.walk(task)
        for number, moment in enumerate(episode.moments):
            for command in moment[0].admissible:
                where = f"{place_of(episode, number)}: {command!r}"
                if " ".join(command.split()) != command or "<" in command:
                    raise Broken(f"{where} has a line break, more than one space, or a tag")
                words = command.split(" ")
                if command != command.lower() or not all(_is_word(word) for word in words):
                    raise Doubtful(f"{where} is not made of lower-case words and numbers")
    return "lower-case words and numbers"


def check_expert(subject: Subject) -> str:
    """The expert plays admissible commands, and wins."""
    if not isinstance(subject.suite, HasExpert):
        raise Doubtful("none; demonstrations and cold starts need one")
    plays = _expert_plays(subject)
    for episode in plays:
        for number, action in enumerate(episode.actions):
            commands = episode.moments[number][0].admissible
            if commands and action not in commands:
                raise Broken(
                    f"{place_of(episode, number)}: plays {action!r}, which is not admissible"
                )
    won = sum(episode.moments[-1][2] for episode in plays)
    if won < len(plays):
        raise Doubtful(f"wins {won} of {len(plays)} within {NUM_STEPS} steps")
    return f"wins {won} of {len(plays)}"


def check_oracle(subject: Subject) -> str:
    """The oracle says 1, 0 or None, and asking changes nothing."""
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
    """Steps per second on this machine."""
    began, num_steps = time.perf_counter(), 0
    with subject.env() as env:
        for task in subject.tasks:
            num_steps += len(walk(env, task).actions)
    rate = num_steps / max(time.perf_counter() - began, 1e-9)
    if rate < SLOW_STEPS_PER_SECOND:
        raise Doubtful(f"{rate:.0f} steps/s, resets included")
    return f"{rate:,.0f} steps/s, resets included"


CHECKS = (
    Check("tasks", check_tasks, "tasks(split) must give TaskIds of your name, each name once"),
    Check("levels", check_levels, "keep training tasks and held-out kinds out of the other levels"),
    Check(
        "types", check_types, "give str, tuple, bool and float as Observation and Transition say"
    ),
    Check("score", check_score, "scale the score so that 0 is nothing and 1 is won"),
    Check("reset", check_reset, "draw only from random.Random(task.name), and set all state anew"),
    Check("steps", check_steps, "draw only from a generator seeded in reset"),
    Check("episodes apart", check_episodes, "set every attribute anew in reset"),
    Check("environments apart", check_environments, "keep state in self, not in class or module"),
    Check("commands", check_commands, "list only what would do something now"),
    Check("nonsense", check_nonsense, "answer with a text ('Nothing happens.'), never raise"),
    Check(
        "end", check_end, "is_won sets is_done and a reward; else leave a command; have an expert"
    ),
    Check("spelling", check_spelling, "write commands as 'open door 2'; else train larger models"),
    Check(
        "expert", check_expert, "give make_expert(seed), whose act() names an admissible command"
    ),
    Check("oracle", check_oracle, "label_action(action) must give 1, 0 or None and change nothing"),
    Check("speed", check_speed, "prepare in __init__ what reset repeats; a model samples 100s/s"),
)


def _level(suite: Suite, level: str) -> tuple[TaskId, ...]:
    try:
        return suite.tasks(level)
    except UserError:
        return ()


def _expert_plays(subject: Subject) -> list[Walk]:
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


def _is_word(word: str) -> bool:
    return word.isdigit() or word.isalpha()


def _repeated(items: Sequence[object]) -> object:
    return next(item for index, item in enumerate(items) if item in items[:index])


def _describe(error: Exception) -> str:
    return f"raises {type(error).__name__}: {error}"

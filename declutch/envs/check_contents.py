"""What a suite and its environments have to give: tasks, levels, types, scores, ends, an expert.

Each function tries one requirement, gives the detail to show, and raises `Broken` or `Doubtful`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from declutch.envs.protocol import HasExpert, held_out_kinds
from declutch.envs.splits import USUAL_LEVELS
from declutch.envs.subject import (
    TASKS_PER_LEVEL,
    Doubtful,
    Fingerprint,
    Subject,
    expert_plays,
    fingerprint,
    tasks_of,
)
from declutch.envs.walks import NUM_STEPS, Broken, place_of, walk
from declutch.records import TaskId


def check_tasks(subject: Subject) -> str:
    """Check a suite's contents: its tasks are named once each, its own, the same each time."""
    suite, counts, absent = subject.suite, [], []
    for level in USUAL_LEVELS:
        tasks = tasks_of(suite, level)
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
    """Check a suite's contents: no level repeats training, and L2 alone has held-out kinds."""
    suite, held_out = subject.suite, set(held_out_kinds(subject.suite))
    trained = {task.name: task for task in tasks_of(suite, "train")}
    for level in USUAL_LEVELS[1:]:
        tasks = tasks_of(suite, level)
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


def check_equal(subject: Subject) -> str:
    """Check a suite's contents: no two levels have a task that plays alike under another name.

    Tasks are alike that start alike and answer a number of walks alike, the expert's among them.
    """
    suite, found, count = subject.suite, dict[Fingerprint, tuple[str, TaskId]](), 0
    for level in USUAL_LEVELS:
        tasks = tasks_of(suite, level)
        step = max(1, len(tasks) // subject.num_compared)
        for task in tasks[::step][: subject.num_compared]:
            count += 1
            mark = fingerprint(subject, task)
            other_level, other = found.setdefault(mark, (level, task))
            if other_level != level and other.name != task.name:
                raise Broken(
                    f"{level}: {task.name!r} plays exactly like {other.name!r} of {other_level}"
                )
    return f"{count} tasks, none like one of another level"


def check_types(subject: Subject) -> str:
    """Check an environment's contents: texts are text, truths are bool and numbers are numbers."""
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
    """Check an environment's contents: scores are in [0, 1], and 1 once won."""
    scores = []
    for episode in [subject.walk(task) for task in subject.tasks] + expert_plays(subject):
        for number, (_, _, won, _, score) in enumerate(episode.moments):
            scores.append(score)
            if not 0.0 <= score <= 1.0:
                raise Broken(f"{place_of(episode, number)}: score={score}")
            if won and score != 1.0:
                raise Broken(f"{place_of(episode, number)}: won with score={score}")
    return f"{min(scores):g} to {max(scores):g}"


def check_end(subject: Subject) -> str:
    """Check an environment's contents: a win is done and rewarded; before it is a way on."""
    num_won = 0
    for episode in [subject.walk(task) for task in subject.tasks] + expert_plays(subject):
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
    """Check an environment's contents: commands can be read from responses and be spelt.

    They survive being read from a response, and being written by a tiny model.
    """
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
    """Check a suite's contents: its expert plays admissible commands and wins."""
    if not isinstance(subject.suite, HasExpert):
        raise Doubtful("none; demonstrations and cold starts need one")
    plays = expert_plays(subject)
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


def _is_word(word: str) -> bool:
    return word.isdigit() or word.isalpha()


def _repeated(items: Sequence[object]) -> object:
    return next(item for index, item in enumerate(items) if item in items[:index])

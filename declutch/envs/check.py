"""What training and evaluation rely on in an environment, tried out on one.

Every requirement is tried on short walks, and what broke it is said, at which task and step.
Environments need not be picklable: processes make their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from declutch.envs.check_behaviour import (
    check_chance,
    check_commands,
    check_environments,
    check_episodes,
    check_nonsense,
    check_oracle,
    check_reset,
    check_speed,
    check_steps,
)
from declutch.envs.check_contents import (
    check_end,
    check_equal,
    check_expert,
    check_levels,
    check_score,
    check_spelling,
    check_tasks,
    check_types,
)
from declutch.envs.diagnosis import own_findings
from declutch.envs.protocol import Suite
from declutch.envs.subject import Doubtful, Subject
from declutch.envs.walks import Broken, describe_raised
from declutch.ground.errors import Finding, Status


@dataclass(frozen=True)
class Check:
    """One check of environments: a requirement to try, with a remedy.

    `run` gives the detail to show, and raises `Broken` or `Doubtful`. `member` is the method of an
    environment that has to meet the requirement, whose line is named where it does not.
    """

    name: str
    run: Callable[[Subject], str]
    remedy: str
    member: str = "step"


def check_suite(suite: Suite) -> list[Finding]:
    """Check a suite of environments: try every requirement, and ask it for its own findings."""
    try:
        subject = Subject.of(suite)
    # The environment is someone else's: whatever it raises is a finding.
    except Exception as error:
        return [Finding("tasks", Status.PROBLEM, describe_raised(error), CHECKS[0].remedy)]
    if not subject.tasks:
        return [Finding("tasks", Status.PROBLEM, "no level has a task", CHECKS[0].remedy)]
    return [*(_run(check, subject) for check in CHECKS), *own_findings(suite)]


def _run(check: Check, subject: Subject) -> Finding:
    try:
        return Finding(check.name, Status.OK, check.run(subject))
    except Doubtful as doubt:
        return Finding(check.name, Status.WARN, str(doubt), check.remedy)
    except Broken as fault:
        place = "" if ", line " in str(fault) else _place_of(subject, check.member)
        return Finding(check.name, Status.PROBLEM, f"{fault}{place}", check.remedy)
    except Exception as error:
        return Finding(check.name, Status.PROBLEM, describe_raised(error), check.remedy)


def _place_of(subject: Subject, member: str) -> str:
    """Where the method that has to be mended is defined, as far as Python knows."""
    try:
        with subject.env() as env:
            method = getattr(type(env), member)
        lines, number = inspect.getsourcelines(method)
        file = inspect.getsourcefile(method)
    # A method may be missing, made by a program, or not be Python at all.
    except (AttributeError, OSError, TypeError):
        return ""
    number += next(i for i, line in enumerate(lines) if "def " in line or i == len(lines) - 1)
    return f" (see {Path(file or '').name}, line {number}: {member})"


CHECKS = (
    Check(
        "tasks",
        check_tasks,
        "tasks(split) must give TaskIds of your name, each name once",
        member="tasks",
    ),
    Check(
        "levels",
        check_levels,
        "keep training tasks and held-out kinds out of the other levels",
        member="tasks",
    ),
    Check(
        "equal tasks",
        check_equal,
        "let tasks of other levels start or answer otherwise",
        member="reset",
    ),
    Check(
        "types", check_types, "give str, tuple, bool and float as Observation and Transition say"
    ),
    Check("score", check_score, "scale the score so that 0 is nothing and 1 is won"),
    Check(
        "reset",
        check_reset,
        "draw only from random.Random(task.name), and set all state anew",
        member="reset",
    ),
    Check(
        "steps",
        check_steps,
        "draw only from a generator seeded in reset; where chance is part of the game, set "
        "is_deterministic = False and take its seed: reset(task, seed)",
    ),
    Check(
        "chance",
        check_chance,
        "draw from random.Random(seed), or leave is_deterministic out",
        member="reset",
    ),
    Check("episodes apart", check_episodes, "set every attribute anew in reset", member="reset"),
    Check("environments apart", check_environments, "keep state in self, not in class or module"),
    Check("commands", check_commands, "list only what would do something now"),
    Check("nonsense", check_nonsense, "answer with a text ('Nothing happens.'), never raise"),
    Check(
        "end", check_end, "is_won sets is_done and a reward; else leave a command; have an expert"
    ),
    Check("spelling", check_spelling, "write commands as 'open door 2'; else train larger models"),
    Check(
        "expert",
        check_expert,
        "give make_expert(seed), whose act() names an admissible command",
        member="make_expert",
    ),
    Check(
        "oracle",
        check_oracle,
        "label_action(action) must give 1, 0 or None and change nothing",
        member="label_action",
    ),
    Check("speed", check_speed, "prepare in __init__ what reset repeats; a model samples 100s/s"),
)

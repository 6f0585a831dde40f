"""What suites share when `declutch doctor` asks them: games counted, packages and errors found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from declutch.envs.protocol import CountsGames, HasChecks, Suite
from declutch.envs.splits import USUAL_LEVELS
from declutch.ground.errors import Finding, Status, UserError
from declutch.ground.extras import install_command

Counts = Mapping[str, Mapping[str, int]]
"""Number of games by split and task type."""


def count_games(suite: Suite) -> Counts:
    """For the diagnosis of any suite, count its games by split and task type.

    Raises:
        UserError: a suite that cannot count, and has no task in a split it should have.
    """
    if isinstance(suite, CountsGames):
        return suite.count_games()
    return {split: Counter(task.kind for task in suite.tasks(split)) for split in USUAL_LEVELS}


def format_counts(counts: Counts) -> str:
    """Write a suite diagnosis's counts of games as text: task types down, splits across."""
    kinds = dict.fromkeys(kind for split in counts.values() for kind in split)
    width = max(map(len, ("all", *kinds)))
    lines = [" " * width + "".join(f" {split}" for split in counts)]
    lines += [
        f"{kind:{width}}" + "".join(f" {counts[s].get(kind, 0):>{len(s)}}" for s in counts)
        for kind in kinds
    ]
    lines.append(
        f"{'all':{width}}" + "".join(f" {sum(counts[s].values()):>{len(s)}}" for s in counts)
    )
    return "\n".join(lines)


def empty_levels(suite: Suite, names: Sequence[str]) -> list[str]:
    """For the diagnosis of a suite, name the splits and levels that it has no game for."""
    return [name for name in dict.fromkeys(names) if not _has_tasks(suite, name)]


def _has_tasks(suite: Suite, name: str) -> bool:
    try:
        return bool(suite.tasks(name))
    except UserError:
        return False


def own_findings(suite: Suite) -> list[Finding]:
    """Ask a suite for its own diagnosis of this machine; [] where it does not look."""
    return list(suite.diagnose()) if isinstance(suite, HasChecks) else []


def problem_of(name: str, error: UserError, remedy: str = "") -> Finding:
    """Make a suite's error a finding of its diagnosis; what comes after a semicolon is the remedy.

    Args:
        name: what was looked at.
        remedy: for a message that says none.
    """
    detail, _, own = str(error).partition("; ")
    return Finding(name, Status.PROBLEM, detail, own or remedy)


def diagnose_adapter(
    package: str, what: str, make: Callable[[], Suite], levels: Sequence[str]
) -> list[Finding]:
    """For the diagnosis of a suite that another package plays: whether it and the tasks are there.

    Args:
        package: its name, and that of the suite.
        what: which of its environments is played.
        make: makes the suite. Raises UserError.
        levels: that are to have tasks.
    """
    version = installed_version(package)
    if version is None:
        return [Finding(package, Status.PROBLEM, "not installed", install_command(package))]
    try:
        suite = make()
        for level in levels:
            suite.tasks(level)
    except UserError as error:
        return [problem_of(package, error, f"correct env.{package}")]
    return [Finding(package, Status.OK, f"{version}, {what}")]


def installed_version(package: str) -> str | None:
    """For a suite's diagnosis, the version of an installed package, None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

"""A run's policies side by side, summarised and paired once for the whole report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from declutch.evaluation.results import EvalResult
from declutch.evaluation.summary import (
    MAIN_LEVELS,
    MEAN_LEVEL,
    PairedRow,
    Row,
    paired,
    summarise,
)
from declutch.ground.errors import UserError
from declutch.runs.read import RunData

COLD_START = "cold start"
CONTROL = "more SFT"
TRAINED = "after RL"

Key = tuple[str, str]
"""Level and kind; kind "" is all kinds."""


@dataclass(frozen=True)
class PolicyRows:
    """One of the policies in a run's report: its evaluation summarised per level and task type."""

    name: str
    result: EvalResult
    rows: Mapping[Key, Row]


@dataclass(frozen=True)
class PolicyComparison:
    """The policies of a run side by side for its report, and the differences between them.

    Attributes:
        policies: cold start, control and trained policy, as far as they were evaluated.
        differences: (first, second) -> rows of second minus first; absent where either is.
        problems: why two evaluations could not be paired.
    """

    policies: tuple[PolicyRows, ...]
    differences: Mapping[tuple[str, str], Mapping[Key, PairedRow]]
    problems: tuple[str, ...]

    def policy(self, name: str) -> PolicyRows | None:
        return next((policy for policy in self.policies if policy.name == name), None)

    @property
    def keys(self) -> list[Key]:
        """Levels and kinds of all policies: main levels first, kinds below theirs."""
        found = dict.fromkeys(key for policy in self.policies for key in policy.rows)
        return sorted(found, key=lambda key: _rank(key[0]))


def compare_policies(data: RunData) -> PolicyComparison:
    """Summarise and pair the policies of a run for its report: cold start, control, last policy."""
    results = {
        COLD_START: data.before,
        CONTROL: data.control,
        TRAINED: data.after.result if data.after else None,
    }
    present = {name: result for name, result in results.items() if result is not None}
    policies = tuple(
        PolicyRows(name, result, {(row.level, row.kind): row for row in summarise(result)})
        for name, result in present.items()
    )
    differences = {}
    problems = []
    for first, second in ((COLD_START, TRAINED), (CONTROL, TRAINED), (COLD_START, CONTROL)):
        if first not in present or second not in present:
            continue
        try:
            rows = paired(present[first], present[second])
        except UserError as error:
            problems.append(f"No difference between {first} and {second}: {error}.")
            continue
        differences[first, second] = {(row.level, row.kind): row for row in rows}
    return PolicyComparison(policies, differences, tuple(problems))


def _rank(level: str) -> tuple[int, str]:
    if level in MAIN_LEVELS:
        return MAIN_LEVELS.index(level), ""
    return (len(MAIN_LEVELS), "") if level == MEAN_LEVEL else (len(MAIN_LEVELS) + 1, level)

"""The run's policies side by side, summarised and paired once for the whole page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from declutch.errors import UserError
from declutch.evaluation.results import EvalResult
from declutch.evaluation.summary import PairedRow, Row, paired, summarise
from declutch.runs.read import RunData

COLD_START = "cold start"
CONTROL = "more SFT"
TRAINED = "after RL"

Key = tuple[str, str]
"""Level and kind; kind "" is all kinds."""


@dataclass(frozen=True)
class Policy:
    """One policy's rows by level and kind."""

    name: str
    result: EvalResult
    rows: Mapping[Key, Row]


@dataclass(frozen=True)
class Comparison:
    """What there is to compare.

    Attributes:
        policies: cold start, control and trained policy, as far as they were evaluated.
        differences: (first, second) -> rows of second minus first; absent where either is.
        problems: why two evaluations could not be paired.
    """

    policies: tuple[Policy, ...]
    differences: Mapping[tuple[str, str], Mapping[Key, PairedRow]]
    problems: tuple[str, ...]

    def policy(self, name: str) -> Policy | None:
        return next((policy for policy in self.policies if policy.name == name), None)


def compare(data: RunData) -> Comparison:
    """Summarise and pair the run's evaluations."""
    results = {
        COLD_START: data.before,
        CONTROL: data.control,
        TRAINED: data.after.result if data.after else None,
    }
    present = {name: result for name, result in results.items() if result is not None}
    policies = tuple(
        Policy(name, result, {(row.level, row.kind): row for row in summarise(result)})
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
    return Comparison(policies, differences, tuple(problems))

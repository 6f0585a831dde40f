"""What a claim of the papers is and what checking it finds: verdict, numbers, counterexample.

A claim is stated once for each way in which it can be read. Its check computes the claim on a grid
of cases and at one worked example, whose parameters are the check's own keyword arguments, so that
anybody can move the example elsewhere. The verdict comes from the grid, never from a name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from declutch.coupling.theory.advantage import Floats, is_valid_risk
from declutch.ground.errors import UserError

Verdict = Literal["holds", "fails", "holds only if"]
Numbers = Mapping[str, float | int | None]
TOLERANCE = 1e-12
"""Differences of float64 results that count as none."""


RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("q", "p", "q_hat", "q1", "q2", "base", "start", "cold", "warm"), (0, 1)),
    **dict.fromkeys(("common", "failure_1", "failure_2", "failure_common"), (0, 1)),
    **dict.fromkeys(("failure", "failure_good"), (0, 1)),
    **dict.fromkeys(("r", "r_hat"), (-1, 1)),
    **dict.fromkeys(("risk", "r2"), (0, 1)),
    **dict.fromkeys(("push", "xi", "delta"), (0, 1000)),
    **dict.fromkeys(("groups", "group_size"), (2, 10_000_000)),
    **dict.fromkeys(("steps", "num_steps", "runs", "needed", "limit"), (1, 1_000_000)),
    **dict.fromkeys(("width", "vocabulary", "actions"), (2, 1000)),
    **dict.fromkeys(("step_size", "small_step_size", "move"), (1e-9, 1000)),
    "seed": (0, 2**32),
}
"""Least and largest values of the worked examples' parameters."""


@dataclass(frozen=True)
class Finding:
    """What the check of a claim found.

    Attributes:
        verdict: of the claim in this reading.
        numbers: named quantities of the worked example and of the grid.
        counterexample: named numbers of one case in which the claim is wrong, None where there is
            none on the grid.
        condition: what a verdict "holds only if" asks for, "" otherwise.
    """

    verdict: Verdict
    numbers: Numbers
    counterexample: Numbers | None = None
    condition: str = ""


@dataclass(frozen=True)
class Claim:
    """One printed claim in one reading, beside what is found: the check that makes its finding.

    Attributes:
        id: unique; what stands before the last dot names the claim, what follows it the reading.
        paper: "GC" or "RM".
        place: where it stands, such as "Lemma 3.1".
        claim: what is claimed, in words of our own with the paper's formulas.
        reading: how it is read here.
        check: computes the finding; its keyword arguments are the worked example's parameters.
        fixed: keyword arguments of the check that make the reading, and are no parameters.
    """

    id: str
    paper: str
    place: str
    claim: str
    reading: str
    check: Callable[..., Finding]
    fixed: Mapping[str, bool] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, float]:
        """The worked example's parameters that the claim's check takes, with their defaults."""
        parameters = inspect.signature(self.check).parameters
        return {name: each.default for name, each in parameters.items() if name not in self.fixed}

    def find(self, given: Mapping[str, float] | None = None) -> Finding:
        """Check the claim; `given` parameters of its example replace the defaults it knows."""
        known = self.parameters
        chosen = {name: value for name, value in (given or {}).items() if name in known}
        for name, value in chosen.items():
            low, high = RANGES.get(name, (-math.inf, math.inf))
            if not low <= value <= high:
                raise UserError(f"{name}={value:g} of {self.id} is not within [{low:g}, {high:g}]")
            if isinstance(known[name], int):
                if value != int(value):
                    raise UserError(f"{name}={value:g} of {self.id} has to be a whole number")
                chosen[name] = int(value)
        try:
            return self.check(**chosen, **self.fixed)
        except ValueError as error:
            text = ", ".join(f"{name}={value:g}" for name, value in (known | chosen).items())
            raise UserError(f"{self.id} cannot be computed at {text}: {error}") from None


@dataclass(frozen=True)
class Place:
    """For findings: where a paper prints a claim, as a stem of ids and in words."""

    stem: str
    text: str

    @property
    def paper(self) -> str:
        return self.stem.partition("-")[0]


@dataclass
class ClaimList:
    """A list of claims with their findings to be; `add` puts the check of a finding on it."""

    claims: list[Claim] = field(default_factory=list)

    def add(
        self,
        places: Place | tuple[Place, ...],
        claim: str,
        reading: str,
        name: str,
        **fixed: bool,
    ) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
        """Make a decorator that lists a check as a claim of each place, under a reading's name.

        Args:
            fixed: keyword arguments of the check that make this reading. Decorators for several
                readings of one check are written one above the other, in the order of the list.
        """
        found = places if isinstance(places, tuple) else (places,)

        def register(check: Callable[..., Finding]) -> Callable[..., Finding]:
            # Python applies the lowest decorator first.
            start = len(self.claims)
            while start and self.claims[start - 1].check is check:
                start -= 1
            self.claims[start:start] = [
                Claim(f"{place.stem}.{name}", place.paper, place.text, claim, reading, check, fixed)
                for place in found
            ]
            return check

        return register


def decide(is_true: ArrayLike, meets: ArrayLike | None = None) -> Verdict:
    """The verdict on a claim that is right in some cases of a grid.

    Args:
        is_true: bool, whether the claim is right in each case.
        meets: bool, of the same shape, whether each case meets a condition.
    Returns:
        "holds" where it is right in all; "holds only if" where it is right in all cases that meet
        the condition and in some of these, and wrong in some that do not; else "fails".
    """
    right = np.asarray(is_true, bool)
    if right.all():
        return "holds"
    if meets is None:
        return "fails"
    condition = np.asarray(meets, bool)
    return "holds only if" if condition.any() and right[condition].all() else "fails"


def conclude(
    is_true: ArrayLike,
    numbers: Numbers,
    columns: Mapping[str, ArrayLike] | None = None,
    *,
    meets: ArrayLike | None = None,
    condition: str = "",
    badness: ArrayLike | None = None,
) -> Finding:
    """Conclude from a claim's grid what is found: verdict, numbers and a counterexample.

    Args:
        is_true, meets: as for `decide`.
        numbers: of the worked example; those of the grid are added.
        columns: what tells the cases of the grid apart; none where there is one case.
        condition: what `meets` is in words.
        badness: how wrong each case is, for the worst one to be the counterexample; the first
            wrong one otherwise.
    """
    right = np.asarray(is_true, bool)
    bad = None
    if columns is not None and not right.all():
        bad = first_wrong(right, columns) if badness is None else worst(badness, columns)
    return Finding(decide(right, meets), dict(numbers) | counted(right, meets), bad, condition)


def counted(is_true: ArrayLike, meets: ArrayLike | None = None) -> dict[str, float]:
    """Numbers of a claim's grid: its cases, those it is wrong in, and those under a condition."""
    right = np.asarray(is_true, bool)
    found: dict[str, float] = {"grid_cases": int(right.size), "grid_wrong": int((~right).sum())}
    if meets is not None:
        condition = np.asarray(meets, bool)
        found |= {
            "grid_meeting_condition": int(condition.sum()),
            "grid_wrong_meeting_condition": int((~right & condition).sum()),
            "grid_right_without_condition": int((right & ~condition).sum()),
        }
    return found


def first_wrong(is_true: ArrayLike, columns: Mapping[str, ArrayLike]) -> dict[str, float] | None:
    """For a finding: the first case of its grid in which the claim is wrong; None if nowhere."""
    wrong = np.flatnonzero(~np.asarray(is_true, bool).ravel())
    return pick_case(int(wrong[0]), columns) if len(wrong) else None


def worst(badness: ArrayLike, columns: Mapping[str, ArrayLike]) -> dict[str, float]:
    """The case of a claim's grid with the largest badness (NaN counts as none), by column."""
    size = np.nan_to_num(np.asarray(badness, float).ravel(), nan=-np.inf)
    return pick_case(int(size.argmax()), columns)


def pick_case(index: int, columns: Mapping[str, ArrayLike]) -> dict[str, float]:
    """One case of a claim's grid: the entry at a flat index of each named column."""
    return {name: float(np.asarray(column).ravel()[index]) for name, column in columns.items()}


@dataclass(frozen=True)
class RiskGrid:
    """For findings that rest on a grid of risky actions: f64[N] of q, p and risk r each."""

    q: Floats
    p: Floats
    r: Floats

    @property
    def columns(self) -> dict[str, Floats]:
        return {"q": self.q, "p": self.p, "r": self.r}


PROBABILITIES: NDArray[np.float64] = np.concatenate(
    [[0.001, 0.01, 0.02], np.linspace(0.05, 0.95, 19), [0.98, 0.99, 0.999]]
)
"""Probabilities of an action on grids."""


def risk_grid(*, is_harmful: bool = True) -> RiskGrid:
    """Make the grid that findings rest on: every 0 < q < 1 with valid p and p + r."""
    rates = np.linspace(0, 1, 21)
    risks = np.array([0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0])
    q, p, r = np.meshgrid(PROBABILITIES, rates, risks if is_harmful else -risks, indexing="ij")
    valid = is_valid_risk(p, r)
    return RiskGrid(q[valid], p[valid], r[valid])

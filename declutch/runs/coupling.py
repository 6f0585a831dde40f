"""Gradient cosines over a run's training, as its folder keeps them: read back and checked."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from declutch.ground.contents import parse_json, parse_record, read_text
from declutch.ground.errors import UserError
from declutch.runs.folder import RunFolder

PAIRS = ("pp", "pn", "np", "nn")
"""Classes of the in-domain steps and of the out-of-domain ones; p is good, n is bad."""


@dataclass(frozen=True)
class PairValues:
    """A number for each pair of classes of a run's gradient cosines; None where there is none."""

    pp: float | None
    pn: float | None
    np: float | None
    nn: float | None

    def of(self, pair: str) -> float:
        """The number of a pair, NaN where there is none."""
        value = getattr(self, pair)
        return math.nan if value is None else float(value)


@dataclass(frozen=True)
class PairEnds:
    """Interval ends for each pair of classes, as a run's record of coupling holds them."""

    pp: tuple[float | None, float | None]
    pn: tuple[float | None, float | None]
    np: tuple[float | None, float | None]
    nn: tuple[float | None, float | None]

    def of(self, pair: str) -> tuple[float, float] | None:
        """The ends of a pair's interval, None where there is none."""
        low, high = getattr(self, pair)
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class CouplingRecord:
    """The gradient cosines of a run's policy after some iteration.

    Attributes:
        iteration: 0 is before any training.
        n: steps in each of the four populations.
        cosine, corrected, split_half: see `declutch.coupling.cosines`.
        interval: of the cosines, 95%.
        p_value: how often shuffled labels reach half of pp + nn - pn - np.
    """

    iteration: int
    n: int
    cosine: PairValues
    corrected: PairValues
    split_half: PairValues
    interval: PairEnds
    p_value: float | None

    @property
    def contrast(self) -> float:
        """Half of pp + nn - pn - np."""
        values = [self.cosine.of(pair) for pair in PAIRS]
        return (values[0] + values[3] - values[1] - values[2]) / 2

    @property
    def reliability(self) -> float:
        """The lowest split-half reliability, NaN where one is not known."""
        values = [self.split_half.of(pair) for pair in PAIRS]
        return math.nan if any(map(math.isnan, values)) else min(values)


def read_coupling(run: RunFolder, notes: list[str]) -> tuple[CouplingRecord, ...]:
    """Read a run folder's gradient cosines, by iteration; what is damaged goes to `notes`."""
    found = []
    for _, path in run.coupling_paths():
        try:
            found.append(parse_coupling(parse_json(read_text(path))))
        except (UserError, ValueError):
            notes.append(f"{run.relative(path)} could not be read and was left out.")
    return tuple(found)


def parse_coupling(data: object) -> CouplingRecord:
    """Parse gradient cosines that a run folder or `declutch coupling gradients` keeps as JSON.

    Raises:
        ValueError: a part is missing or of another type.
    """
    try:
        assert isinstance(data, dict)
        parts = {
            "iteration": data.get("iteration", 0),
            "n": data["n"]["in_pos"],
            "cosine": data["cosine"],
            "corrected": data["corrected"],
            "split_half": {pair: data["split_half"][pair] for pair in PAIRS},
            "interval": data["interval"],
            "p_value": data["null"]["contrast"]["p"],
        }
    except (AssertionError, KeyError, TypeError) as error:
        raise ValueError(f"a part of it is missing: {error}") from None
    return parse_record(CouplingRecord, json.dumps(parts))

"""The registry of all claims of the papers GC and RM, and checking some or all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from declutch.coupling.theory import (
    check_advantage,
    check_occurrences,
    check_pair,
    check_pair_bound,
    check_proof,
    check_readout,
    check_squeezing,
    check_squeezing_proof,
    check_zone,
)
from declutch.coupling.theory.findings import Claim, Finding
from declutch.coupling.theory.names import meaning_of
from declutch.ground.errors import UserError, nearest

MODULES = (
    check_advantage,
    check_occurrences,
    check_proof,
    check_squeezing,
    check_squeezing_proof,
    check_zone,
    check_pair,
    check_pair_bound,
    check_readout,
)
"""Modules whose `claims` make the registry, in the order of the papers."""


def _collected() -> tuple[Claim, ...]:
    found = [claim for module in MODULES for claim in module.claims.claims]
    found.sort(key=lambda claim: claim.paper)
    # Readings of one claim stand together, in the order in which they came first.
    order: dict[str, int] = {}
    for claim in found:
        order.setdefault(stem_of(claim.id), len(order))
    return tuple(sorted(found, key=lambda claim: order[stem_of(claim.id)]))


def stem_of(claim_id: str) -> str:
    """The claim that an id of the registry is a reading of: what stands before the last dot."""
    return claim_id.rpartition(".")[0]


CLAIMS = _collected()
"""Every claim of both papers in each of its readings, GC first."""


@dataclass(frozen=True)
class Checked:
    """A claim of the registry with what its check found."""

    claim: Claim
    finding: Finding


def select_claims(names: Sequence[str]) -> tuple[Claim, ...]:
    """Select the registry's claims that have one of the names; all where none is given.

    Args:
        names: whole ids, ids without the reading, or beginnings of ids such as "RM-A.2".
    Raises:
        UserError: a name that no claim has.
    """
    chosen: dict[str, Claim] = {}
    for name in names:
        exact = [claim for claim in CLAIMS if name in (claim.id, stem_of(claim.id))]
        found = exact or [claim for claim in CLAIMS if claim.id.startswith(name)]
        if not found or not name:
            known = tuple(
                dict.fromkeys([*(c.id for c in CLAIMS), *(stem_of(c.id) for c in CLAIMS)])
            )
            raise UserError(
                f"no claim {name!r}{nearest(name, known)}; `declutch theory` lists all of them"
            )
        chosen |= {claim.id: claim for claim in found}
    return tuple(claim for claim in CLAIMS if claim.id in chosen) if names else CLAIMS


def check_claims(
    claims: Sequence[Claim],
    given: Mapping[str, float] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Checked]:
    """Check claims of the registry, each shared check once.

    Args:
        given: parameters of the worked examples that replace the defaults.
        report: told (done, total) after each claim.
    Raises:
        UserError: a parameter that none of the claims has, or a value outside its range.
    """
    parameters = dict(given or {})
    known = {name for claim in claims for name in claim.parameters}
    for name in parameters:
        if name not in known:
            raise UserError(
                f"none of these claims has a parameter {name!r}{nearest(name, tuple(known))}"
            )
    done: dict[tuple[Any, ...], Finding] = {}
    found = []
    for index, claim in enumerate(claims, start=1):
        key = (claim.check, *sorted(claim.fixed.items()))
        if key not in done:
            done[key] = claim.find(parameters)
        found.append(Checked(claim, done[key]))
        report(index, len(claims))
    return found


def theory_data(checked: Sequence[Checked]) -> dict[str, Any]:
    """The registry's findings as data for JSON; numbers that are none are null.

    Returns:
        {"claims": [{"id", "paper", "place", "claim", "reading", "verdict", "condition",
        "numbers", "counterexample", "command"}], "names": {number: meaning}}.
    """
    claims = [
        {
            "id": each.claim.id,
            "paper": each.claim.paper,
            "place": each.claim.place,
            "claim": each.claim.claim,
            "reading": each.claim.reading,
            "verdict": each.finding.verdict,
            "condition": each.finding.condition if _is_conditional(each.finding) else "",
            "numbers": _plain(each.finding.numbers),
            "counterexample": _plain(each.finding.counterexample),
            "command": f"declutch theory --claim {each.claim.id}",
        }
        for each in checked
    ]
    keys = {
        key for each in claims for part in ("numbers", "counterexample") for key in each[part] or ()
    }
    return {"claims": claims, "names": {key: meaning_of(key) for key in sorted(keys)}}


def _is_conditional(finding: Finding) -> bool:
    return finding.verdict == "holds only if"


def _plain(numbers: Mapping[str, Any] | None) -> dict[str, float | int | None] | None:
    if numbers is None:
        return None
    return {key: _number(value) for key, value in numbers.items()}


def _number(value: Any) -> float | int | None:
    if value is None:
        return None
    if isinstance(value, int):
        return int(value)
    number = float(value) + 0.0
    return number if math.isfinite(number) else None

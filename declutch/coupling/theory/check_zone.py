"""The checks on the safe regime, the danger zone and the cold start of both papers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from declutch.coupling.theory.advantage import POPULATION, Estimator, Floats, peak, risky_action
from declutch.coupling.theory.danger_zone import (
    Drift,
    PushKind,
    boundary,
    constant_roots,
    fixed_points,
    follow_action,
    runs_away,
    speed,
)
from declutch.coupling.theory.findings import (
    ClaimList,
    Finding,
    Numbers,
    Place,
    conclude,
)
from declutch.coupling.theory.groups import credited, draw_groups

PARABOLA = (
    Place("GC-3.2-parabola", "section 3.2, on eq. 1"),
    Place("RM-3.3-parabola", "section 3.3 and Figure 4"),
)
SAFE = (
    Place("GC-3.2-safe-regime", "section 3.2, the safe regime"),
    Place("RM-3.3-safe-regime", "section 3.3, the safe regime"),
)
DANGER = (
    Place("GC-3.2-danger-zone", "section 3.2, the danger zone"),
    Place("RM-3.3-danger-zone", "section 3.3, the danger zone"),
)
OVERPOWERED = (
    Place("GC-3.2-overpowered", "section 3.2, after Lemma 3.1"),
    Place("RM-3.3-overpowered", "section 3.3, the danger zone"),
)
COLD_START = (Place("RM-3.3-cold-start", "section 3.3, on the cold start"),)
ESCAPE = (
    Place("GC-4-escape", "section 4, on suggestions"),
    Place("RM-4.2-escape", "section 4.2"),
)
DEVIATION = Estimator(None, std_norm=True)
GRPO_8 = Estimator(8, std_norm=True)
claims = ClaimList()
"""The claims about regimes and zones that this module's checks are of."""

GRID = np.linspace(0.001, 0.999, 999)
RISKS = (0.05, 0.1, 0.3, 0.6, 0.9)


def _bases(risk: float) -> Floats:
    return np.linspace(0, 1 - risk, 7)


# -- the parabola -----------------------------------------------------------------------------


PARABOLA_TEXT = (
    "The strength of self-correction is a parabola in q that peaks at q = 0.5 and decreases beyond."
)


def _parabola_check(
    force: Callable[[Floats, float, float], Floats], find_peak: Callable[[float, float], float]
) -> Callable[..., Finding]:
    """A check of a force [q] for p and r: peak at 0.5, falling beyond, second differences equal."""

    def check(p: float = 0.05, r: float = 0.3) -> Finding:
        rows = [(float(base), risk) for risk in RISKS for base in _bases(risk)]
        is_true, peaks, curved = [], [], []
        for base, risk in rows:
            values = force(GRID, base, risk)
            top = float(GRID[values.argmax()])
            bend = np.diff(values, 2)
            is_parabola = bool(np.ptp(bend) < 1e-9)
            falls = bool((np.diff(values[GRID > 0.5]) < 0).all())
            is_true.append(abs(top - 0.5) < 2e-3 and falls and is_parabola)
            peaks.append(top)
            curved.append(is_parabola)
        numbers: dict[str, float | int | None] = {
            "p": p,
            "r": r,
            "peak": find_peak(p, r),
            "force_at_0.25": float(force(np.array([0.25]), p, r)[0]),
            "force_at_0.5": float(force(np.array([0.5]), p, r)[0]),
            "force_at_0.75": float(force(np.array([0.75]), p, r)[0]),
            "grid_smallest_peak": min(peaks),
            "grid_largest_peak": max(peaks),
            "grid_parabolas": int(sum(curved)),
        }
        columns = {
            "p": np.array([row[0] for row in rows]),
            "r": np.array([row[1] for row in rows]),
            "peak": np.array(peaks),
        }
        return conclude(is_true, numbers, columns)

    return check


def _advantage_force(estimator: Estimator) -> Callable[[Floats, float, float], Floats]:
    return lambda q, p, r: -risky_action(q, p, r, estimator)


for _name, _reading, _estimator in (
    ("joint", "Joint expectation, infinitely large groups, no deviation.", POPULATION),
    (
        "deviation",
        "Divided by the reward's deviation sqrt(f (1-f)), f = p + q r: the peak moves with p and r "
        "anywhere from 1/3 (p = 0, small r) to 2/3 (p + r = 1).",
        DEVIATION,
    ),
    ("grpo", "Groups of 8 as GRPO trains.", GRPO_8),
):
    claims.add(PARABOLA, PARABOLA_TEXT, _reading, _name)(
        _parabola_check(
            _advantage_force(_estimator),
            lambda p, r, estimator=_estimator: peak(p, r, estimator),  # type: ignore[misc]
        )
    )
claims.add(
    PARABOLA,
    PARABOLA_TEXT,
    "Conditional expectation, the advantage where the action is taken: r (1 - q), a line that is "
    "strongest at q = 0.",
    "conditional",
)(_parabola_check(lambda q, p, r: r * (1 - q), lambda p, r: 0.0))
claims.add(
    PARABOLA,
    PARABOLA_TEXT,
    "How fast the probability itself falls, q (1-q) times the pull: q^2 (1-q)^2 r, which peaks at "
    "0.5 and falls beyond, but is no parabola.",
    "speed",
)(_parabola_check(lambda q, p, r: speed(q, r), lambda p, r: 0.5))


# -- the two regimes ---------------------------------------------------------------------------


def _slope_check(
    estimator: Estimator, *, is_safe: bool, is_conditional: bool
) -> Callable[..., Finding]:
    """Below 0.5 the self-correction grows with q; above it weakens."""

    def check(p: float = 0.0, r: float = 0.1) -> Finding:
        side = GRID[GRID < 0.5] if is_safe else GRID[GRID > 0.5]
        rows = [(float(base), risk) for risk in RISKS for base in _bases(risk)]
        is_true, turns = [], []

        def force(base: float, risk: float) -> Floats:
            values = -risky_action(side, base, risk, estimator)
            return values / side if is_conditional else values

        for base, risk in rows:
            change = np.diff(force(base, risk))
            right = change > 0 if is_safe else change < 0
            is_true.append(bool(right.all()))
            turns.append(float(side[:-1][~right].max() if not right.all() else np.nan))
        values = force(p, r)
        numbers: Numbers = {
            "p": p,
            "r": r,
            "force_at_lower_end": float(values[0]),
            "force_at_upper_end": float(values[-1]),
            "largest_force_at": float(side[values.argmax()]),
        }
        columns = {
            "p": np.array([row[0] for row in rows]),
            "r": np.array([row[1] for row in rows]),
            "wrong_up_to": np.array(turns),
        }
        return conclude(is_true, dict(numbers), columns)

    return check


SAFE_SLOPE = "For q < 0.5 the penalty grows stronger as q increases."
DANGER_SLOPE = "For q > 0.5 the penalty weakens as q increases."
for _name, _reading, _estimator, _conditional in (
    ("slope-joint", "Joint expectation, no deviation.", POPULATION, False),
    ("slope-conditional", "Conditional expectation, no deviation.", POPULATION, True),
    ("slope-deviation", "Divided by the reward's deviation.", DEVIATION, False),
    ("slope-grpo", "Groups of 8 as GRPO trains.", GRPO_8, False),
):
    claims.add(SAFE, SAFE_SLOPE, _reading, _name)(
        _slope_check(_estimator, is_safe=True, is_conditional=_conditional)
    )
    claims.add(DANGER, DANGER_SLOPE, _reading, _name)(
        _slope_check(_estimator, is_safe=False, is_conditional=_conditional)
    )


def _drifts(kind: PushKind, estimator: Estimator, *, is_conditional: bool = False) -> list[Drift]:
    """Drifts of many strengths: pushes as multiples of a quarter of the risk."""
    shares = (0.1, 0.3, 0.6, 0.9, 0.99, 1.01, 1.3, 2.1, 3.5, 5.0)
    return [
        Drift(share * risk / 4, risk, base, kind, estimator, is_conditional)
        for risk in (0.1, 0.4, 0.8)
        for base in (0.0, (1 - risk) / 2, 1 - risk)
        for share in shares
    ]


def _start_cases(drifts: list[Drift], starts: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Every start with every drift: index of the drift and the start, flat."""
    index, start = np.meshgrid(np.arange(len(drifts)), starts, indexing="ij")
    return index.ravel(), start.ravel()


def _edges(drifts: list[Drift]) -> Floats:
    """The run-away boundary of each drift, 1 where nothing runs away."""
    found = [boundary(drift) for drift in drifts]
    return np.array([1.0 if edge is None else edge for edge in found])


def _ends(drifts: list[Drift], starts: Floats) -> NDArray[np.bool_]:
    """Whether an action that starts there runs away, followed step by step: bool[drift, start]."""
    first = drifts[0]
    push, risk, base = (
        np.array([getattr(drift, name) for drift in drifts])[:, None]
        for name in ("push", "risk", "base")
    )
    every = Drift(push, risk, base, first.kind, first.estimator, first.is_conditional)
    return runs_away(every, starts)


def _zone_numbers(drift: Drift) -> dict[str, float | int | None]:
    edge = boundary(drift)
    points = fixed_points(drift)
    numbers: dict[str, float | int | None] = {
        "push": float(drift.push),
        "risk": float(drift.risk),
        "base": float(drift.base),
        "boundary": 1.0 if edge is None else edge,
    }
    for index, point in enumerate(points, start=1):
        numbers |= {f"fixed_point_{index}": point.q, f"is_stable_{index}": int(point.is_stable)}
    return numbers


def _zone_columns(
    drifts: list[Drift], index: NDArray[np.int64], start: Floats
) -> dict[str, Floats]:
    return {
        "start": start,
        "push": np.array([drifts[i].push for i in index]),
        "risk": np.array([drifts[i].risk for i in index]),
        "base": np.array([drifts[i].base for i in index]),
        "boundary": _edges(drifts)[index],
    }


SAFE_STARTS = np.array([0.02, 0.1, 0.25, 0.4, 0.49])
DANGER_STARTS = np.array([0.51, 0.6, 0.75, 0.9, 0.98])


def _fate_check(
    kind: PushKind,
    estimator: Estimator,
    condition: str,
    *,
    is_safe: bool,
    is_conditional: bool = False,
) -> Callable[..., Finding]:
    """From a start below 0.5 the action does not run away; from one above it, it does.

    The condition is on the boundary.
    """
    starts = SAFE_STARTS if is_safe else DANGER_STARTS

    def check(
        push: float = 0.05,
        risk: float = 0.4,
        base: float = 0.2,
        start: float = 0.3 if is_safe else 0.6,
    ) -> Finding:
        drifts = _drifts(kind, estimator, is_conditional=is_conditional)
        index, first = _start_cases(drifts, starts)
        is_true = _ends(drifts, starts).ravel() != is_safe
        edges = _edges(drifts)[index]
        meets = edges >= 0.5 if is_safe else first > edges
        drift = Drift(push, risk, base, kind, estimator, is_conditional)
        numbers = _zone_numbers(drift) | {
            "start": start,
            "end": float(follow_action(drift, start, 4000)[-1]),
        }
        columns = _zone_columns(drifts, index, first)
        return conclude(is_true, numbers, columns, meets=meets, condition=condition)

    return check


def _boundary_check(
    kind: PushKind, estimator: Estimator, *, is_conditional: bool = False
) -> Callable[..., Finding]:
    """The boundary of the danger zone is q = 0.5."""

    def check(push: float = 0.05, risk: float = 0.4, base: float = 0.2) -> Finding:
        drifts = _drifts(kind, estimator, is_conditional=is_conditional)
        edges = _edges(drifts)
        is_true = np.abs(edges - 0.5) < 1e-3
        index = np.arange(len(drifts))
        columns = _zone_columns(drifts, index, np.full(len(drifts), np.nan))
        del columns["start"]
        drift = Drift(push, risk, base, kind, estimator, is_conditional)
        inside = edges[(edges > 0) & (edges < 1)]
        numbers = _zone_numbers(drift) | {
            "grid_with_boundary": len(inside),
            "grid_smallest_boundary": float(inside.min()) if len(inside) else None,
            "grid_largest_boundary": float(inside.max()) if len(inside) else None,
        }
        if kind == "constant" and estimator == POPULATION and not is_conditional:
            roots = constant_roots(push, risk)
            numbers["formula_boundary"] = roots[1] if roots else None
            numbers["formula_stable_point"] = roots[0] if roots else None
        return conclude(is_true, numbers, columns)

    return check


RESISTS = (
    "An action with q < 0.5 resists the push: the stronger penalty keeps it from running away."
)
RUNS = "An action with q > 0.5 is overwhelmed by the push and runs away."
BOUNDARY = "The danger zone begins at q = 0.5."
for _name, _reading, _kind, _estimator, _conditional, _resist_if, _run_if in (
    (
        "constant",
        "Constant push c on the logit against q r (1-q), as printed. Fixed points are "
        "(1 -+ sqrt(1 - 4c/r)) / 2; the upper one repels and is the boundary.",
        "constant",
        POPULATION,
        False,
        "c <= r / 4",
        "q > (1 + sqrt(1 - 4c/r)) / 2, or c > r / 4",
    ),
    (
        "constant-deviation",
        "Constant push c on the logit, the penalty divided by the reward's deviation.",
        "constant",
        DEVIATION,
        False,
        "the upper fixed point is at least 0.5",
        "q is above the upper fixed point, if there is one",
    ),
    (
        "constant-grpo",
        "Constant push c on the logit, the penalty that of groups of 8 as GRPO trains.",
        "constant",
        GRPO_8,
        False,
        "the upper fixed point is at least 0.5",
        "q is above the upper fixed point, if there is one",
    ),
    (
        "constant-conditional",
        "Constant push c on the logit against the conditional r (1-q). The only fixed point, "
        "1 - c/r, repels.",
        "constant",
        POPULATION,
        True,
        "c <= r / 2",
        "q > 1 - c/r",
    ),
    (
        "proportional",
        "A constant advantage c on every occurrence, so a push c q on the logit. The only fixed "
        "point, 1 - c/r, repels.",
        "proportional",
        POPULATION,
        False,
        "c <= r / 2",
        "q > 1 - c/r",
    ),
    (
        "logistic",
        "A push c q (1-q), as from a softmax policy whose advantages differ by c. No fixed point "
        "inside: the action falls for c < r and runs away for c > r, wherever it starts.",
        "logistic",
        POPULATION,
        False,
        "c < r",
        "c > r",
    ),
):
    claims.add(SAFE, RESISTS, _reading, f"resists-{_name}")(
        _fate_check(_kind, _estimator, _resist_if, is_safe=True, is_conditional=_conditional)  # type: ignore[arg-type]
    )
    claims.add(DANGER, RUNS, _reading, f"runs-away-{_name}")(
        _fate_check(_kind, _estimator, _run_if, is_safe=False, is_conditional=_conditional)  # type: ignore[arg-type]
    )
    claims.add(DANGER, BOUNDARY, _reading, f"boundary-{_name}")(
        _boundary_check(_kind, _estimator, is_conditional=_conditional)  # type: ignore[arg-type]
    )


@claims.add(
    SAFE,
    "In the safe regime any increase of q is met with a stronger penalty: negative feedback.",
    "Under a constant push the lower fixed point attracts: an action next to it comes back. It is "
    "there that the action stays, at about c/r, and not at 0.",
    "feedback",
)
def check_feedback(push: float = 0.05, risk: float = 0.4) -> Finding:
    rows = [(share * risk / 4, risk) for risk in RISKS for share in (0.05, 0.2, 0.5, 0.8, 0.95)]
    is_true, points = [], []
    for strength, size in rows:
        lower = (constant_roots(strength, size) or (0.0, 0.0))[0]
        starts = np.clip([lower * 0.8, lower * 1.1], 1e-6, 0.49)
        ends = follow_action(Drift(strength, size), starts, 500, max_move=0.01)[-1]
        is_true.append(bool((np.abs(ends - lower) < 3e-3).all()))
        points.append(lower)
    numbers = _zone_numbers(Drift(push, risk)) | {"push_over_risk": push / risk}
    columns = {
        "push": np.array([row[0] for row in rows]),
        "risk": np.array([row[1] for row in rows]),
        "lower_fixed_point": np.array(points),
    }
    return conclude(is_true, numbers, columns)


@claims.add(
    OVERPOWERED,
    "Self-correction can be overpowered by coupling, so that a flawed action's probability rises.",
    "There is such a push: c > q r (1-q). Any flawed action can be pushed up, in the safe regime, "
    "too, by c > r / 4.",
    "exists",
)
def check_overpowered(push: float = 0.12, risk: float = 0.4, start: float = 0.1) -> Finding:
    drift = Drift(push, risk)
    path = follow_action(drift, start, 4000)
    numbers = _zone_numbers(drift) | {
        "start": start,
        "drift_at_start": float(drift(start)),
        "end": float(path[-1]),
    }
    found = [float(Drift(0.26 * risk, risk)(q)) > 0 for risk in RISKS for q in GRID[::50]]
    return conclude(found, numbers)


# -- simulated groups, the cold start, and the way out ---------------------------------------


def train_pushed(
    drift: Drift, start: Floats, num_steps: int, step_size: float, seed: int
) -> Floats:
    """Check by simulation: q after training an action on sampled groups under a constant push.

    Args:
        start: f64[N], a run each. The groups are those of `drift.estimator`, credited by `credit`.
    """
    draw = np.random.default_rng(seed)
    size = drift.estimator.group_size or 8
    estimator = Estimator(size, drift.estimator.std_norm)
    logits = np.log(start / (1 - start))
    failure = np.array([drift.base + drift.risk, drift.base])
    for _ in range(num_steps):
        q = 1 / (1 + np.exp(-logits))
        groups = draw_groups(np.stack([q, 1 - q], -1), failure, size, len(q), draw)
        advantage = credited(groups, estimator)
        pull = np.where(groups.action == 0, advantage, 0).mean(1)
        logits = np.clip(logits + step_size * (drift.pushed(q) + pull), -30, 30)
    return np.asarray(1 / (1 + np.exp(-logits)))


@claims.add(
    DANGER,
    BOUNDARY,
    "Training on sampled groups of 8 by GRPO under a constant push, 100 runs from each start; the "
    "boundary is where half of them run away.",
    "boundary-sampled",
)
def check_sampled_boundary(
    push: float = 0.15,
    risk: float = 0.4,
    base: float = 0.2,
    step_size: float = 0.2,
    runs: int = 100,
    num_steps: int = 600,
    seed: int = 60,
) -> Finding:
    drift = Drift(push, risk, base, estimator=GRPO_8)
    starts = np.array([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    ends = train_pushed(drift, np.repeat(starts, runs), num_steps, step_size, seed)
    share = (ends.reshape(len(starts), runs) > 0.95).mean(1)
    exact = boundary(drift)
    numbers = _zone_numbers(drift) | {
        "step_size": step_size,
        "num_steps": num_steps,
        "runs_per_start": runs,
    }
    numbers |= {
        f"share_from_{start:.1f}": float(each) for start, each in zip(starts, share, strict=True)
    }
    numbers |= {
        f"share_error_from_{start:.1f}": float(np.sqrt(each * (1 - each) / runs))
        for start, each in zip(starts, share, strict=True)
    }
    half = float(np.interp(0.5, share, starts)) if share[-1] > 0.5 else None
    numbers |= {"half_runs_away_from": half, "exact_boundary": exact}
    is_true = [half is not None and abs(half - 0.5) < 0.05]
    wrong = None if all(is_true) else {"half_runs_away_from": half, "exact_boundary": exact}
    return replace(conclude(is_true, numbers), counterexample=wrong)


@claims.add(
    COLD_START,
    "A cold start that makes flawed actions unlikely (q << 0.5) keeps them in the safe regime, and "
    "without it training can be counterproductive.",
    "Constant push c < r / 4: from 0.05 the action does not run away; from above the upper fixed "
    "point it does, so that it ends more likely than it began.",
    "push-below-quarter",
)
def check_cold_start(
    push: float = 0.05, risk: float = 0.4, cold: float = 0.05, warm: float = 0.9
) -> Finding:
    rows = [(share * size / 4, size) for size in RISKS for share in (0.1, 0.5, 0.9)]
    is_true = []
    for strength, size in rows:
        drift = Drift(strength, size)
        upper = (constant_roots(strength, size) or (0.0, 1.0))[1]
        starts = np.array([0.05, min(upper + 0.01, 0.999)])
        ends = runs_away(drift, starts)
        is_true.append(bool(not ends[0] and ends[1]))
    drift = Drift(push, risk)
    ends = follow_action(drift, np.array([cold, warm]), 10_000)[-1]
    numbers = _zone_numbers(drift) | {
        "cold": cold,
        "end_from_cold": float(ends[0]),
        "warm": warm,
        "end_from_warm": float(ends[1]),
    }
    columns = {"push": np.array([r[0] for r in rows]), "risk": np.array([r[1] for r in rows])}
    return conclude(is_true, numbers, columns)


@claims.add(
    COLD_START,
    "A cold start that makes flawed actions unlikely (q << 0.5) keeps them in the safe regime.",
    "Any constant push, from q = 0.05. For c > r / 4 there is no fixed point, and the action runs "
    "away from everywhere.",
    "any-push",
)
def check_cold_start_any(push: float = 0.12, risk: float = 0.4, cold: float = 0.05) -> Finding:
    rows = [(share * size / 4, size) for size in RISKS for share in (0.1, 0.5, 0.9, 1.1, 2.0, 4.0)]
    ends = [runs_away(Drift(*row), 0.05) for row in rows]
    strength, size = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    is_true, meets = ~np.array(ends), strength <= size / 4
    drift = Drift(push, risk)
    numbers = _zone_numbers(drift) | {
        "cold": cold,
        "end_from_cold": float(follow_action(drift, cold, 10_000)[-1]),
    }
    return conclude(
        is_true, numbers, {"push": strength, "risk": size}, meets=meets, condition="c <= r / 4"
    )


@claims.add(
    ESCAPE,
    "Once a flawed action's probability is low, self-correction takes over and suppresses it "
    "further.",
    "Under a constant push c: the probability falls. Below the lower fixed point, about c/r, it "
    "rises instead.",
    "constant-push",
)
def check_escape(push: float = 0.05, risk: float = 0.4, start: float = 0.05) -> Finding:
    rows = [
        (share * size / 4, size, low)
        for size in RISKS
        for share in (0.02, 0.1, 0.5, 0.9)
        for low in (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4)
    ]
    strength, size, low = map(np.array, zip(*rows, strict=True))
    lower = np.array([(constant_roots(s, r) or (0.0, 1.0))[0] for s, r, _ in rows])
    change = strength - low * (1 - low) * size
    is_true, meets = change < 0, low > lower
    drift = Drift(push, risk)
    numbers = _zone_numbers(drift) | {
        "start": start,
        "drift_at_start": float(drift(start)),
        "end": float(follow_action(drift, start, 10_000)[-1]),
    }
    return conclude(
        is_true,
        numbers,
        {"push": strength, "risk": size, "start": low, "lower_fixed_point": lower},
        meets=meets,
        condition="q > (1 - sqrt(1 - 4c/r)) / 2",
    )


@claims.add(
    ESCAPE,
    "Once a flawed action's probability is low, self-correction takes over and suppresses it "
    "further.",
    "A constant advantage c < r on every occurrence (a push c q): the probability falls from every "
    "start below 1 - c/r, and goes to 0.",
    "proportional-push",
)
def check_escape_proportional(
    push: float = 0.05, risk: float = 0.4, start: float = 0.05
) -> Finding:
    rows = [
        (share * size, size, low)
        for size in RISKS
        for share in (0.02, 0.1, 0.5, 0.9, 1.2)
        for low in (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4)
    ]
    strength, size, low = map(np.array, zip(*rows, strict=True))
    is_true = low * (strength - size * (1 - low)) < 0
    meets = low < 1 - strength / size - 1e-12
    drift = Drift(push, risk, kind="proportional")
    numbers = _zone_numbers(drift) | {
        "start": start,
        "drift_at_start": float(drift(start)),
        "end": float(follow_action(drift, start, 10_000)[-1]),
    }
    return conclude(
        is_true,
        numbers,
        {"push": strength, "risk": size, "start": low},
        meets=meets,
        condition="q < 1 - c/r",
    )

"""Figures of the theory: the parabola, the basins, three actions, a coupled pair, a cold start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from declutch.coupling.figure_data import FigureData, Series
from declutch.coupling.theory.advantage import POPULATION, Estimator, risky_action
from declutch.coupling.theory.coupled_pair import follow_pairs, make_pair
from declutch.coupling.theory.danger_zone import Drift, boundary, constant_roots, follow_action
from declutch.coupling.theory.three_actions import follow

COMMAND = "declutch theory --out FOLDER"


def theory_figures() -> list[FigureData]:
    """Make all figures of the theory: portraits of each result, as data to be drawn."""
    return [parabola(), basins(), three_actions(), coupled_pair(), cold_start()]


def parabola(p: float = 0.05, r: float = 0.3) -> FigureData:
    """Portrait of the self-correction over q (RM Figure 4), and what a deviation makes of it."""
    grid = np.linspace(0, 1, 201)[1:-1]
    cases = (
        ("printed, q r (1-q)", POPULATION),
        ("groups of 8, own mean", Estimator(8)),
        ("GRPO, groups of 8", Estimator(8, std_norm=True)),
        ("divided by the policy's deviation", Estimator(None, std_norm=True)),
    )
    series = [_series(name, grid, -risky_action(grid, p, r, each)) for name, each in cases]
    series.append(_series("given the action, r (1-q)", grid, r * (1 - grid), is_dashed=True))
    return FigureData(
        "theory_parabola",
        "lines",
        "Self-correction of a risky action: the parabola, and what normalisation does to it",
        caption=f"Size of the expected advantage of an action of risk r = {r:g} where the failure "
        f"rate without it is p = {p:g}, by exact enumeration over groups. Divided by a deviation "
        "it is no parabola, and its peak leaves 0.5. The mean over the action's occurrences is a "
        "line.",
        command=COMMAND,
        x_label="probability q of the action",
        y_label="pull on its logit, downwards",
        series=series,
        marks=((0.5, "q = 0.5"),),
    )


def basins(risk: float = 0.4) -> FigureData:
    """Portrait of where a pushed action ends: fixed points over the strength of the push."""
    shares = np.linspace(0.001, 0.2499, 250)
    roots = [constant_roots(share * risk, risk) or (np.nan, np.nan) for share in shares]
    proportional = np.linspace(0.001, 0.999, 200)
    edges = [boundary(Drift(c * risk, risk, kind="proportional")) for c in proportional[::20]]
    return FigureData(
        "theory_basins",
        "lines",
        "Where an action ends that coupling pushes up: the boundary is the upper root, not q = 0.5",
        caption="Fixed points of the logit's drift, push less q r (1-q). Under a constant push c "
        "an action comes to the lower root from below the upper one, and runs away to 1 from above "
        "it; for c > r/4 from everywhere. Under a constant advantage c on each occurrence (push "
        "c q) it vanishes below 1 - c/r and runs away above.",
        command=COMMAND,
        x_label="push c, in units of the risk r",
        y_label="probability q",
        series=(
            _series("constant push: runs away above", shares, [pair[1] for pair in roots]),
            _series("constant push: ends here below", shares, [pair[0] for pair in roots]),
            _series(
                "push c q: runs away above",
                proportional[::20],
                [np.nan if edge is None else edge for edge in edges],
            ),
            _series("q = 0.5, the papers' boundary", [0, 1], [0.5, 0.5], is_dashed=True),
        ),
        marks=((0.25, "c = r/4"),),
    )


def three_actions(failure: Sequence[float] = (0.7, 0.9, 0.1), step_size: float = 0.4) -> FigureData:
    """Portrait of the phases of three actions: paths of exact steps from many policies."""
    starts = ((0.1, 0.85), (0.3, 0.65), (0.5, 0.45), (0.7, 0.27), (0.9, 0.08), (0.2, 0.4))
    series = []
    for index, (first, second) in enumerate(starts, start=1):
        path = follow([first, second, 1 - first - second], failure, 4000, step_size)
        series.append(_series(f"start {index}", path[:, 0], path[:, 1]))
    series.append(_series("all probability on 1 and 2", [0, 1], [1, 0], is_dashed=True))
    rates = ", ".join(f"{rate:g}" for rate in failure)
    return FigureData(
        "theory_three_actions",
        "lines",
        "Three actions under softmax: the second is punished most, and the first rises meanwhile",
        caption=f"Policies along 4000 exact softmax steps of size {step_size:g}; actions 1, 2, 3 "
        f"fail with rates {rates}. Paths begin next to the dashed line and end at (0, 0), where "
        "action 3 has all probability. Where a path goes to the right, the flawed action 1 rises.",
        command=COMMAND,
        x_label="probability of action 1 (flawed)",
        y_label="probability of action 2 (worse)",
        series=series,
    )


def coupled_pair(
    q1: float = 0.3, q2: float = 0.2, r2: float = 0.05, xi: float = 5.0, step_size: float = 2.0
) -> FigureData:
    """Portrait of a coupled pair over time: the flawed action rises before it falls."""
    series = []
    turns = []
    for delta in (0.1, 0.5, 0.8):
        path = follow_pairs(make_pair([q1], [q2], [r2], [xi], [delta]), step_size, 1500)
        time = np.arange(1501)[::5]
        series.append(_series(f"good action, δ = {delta:g}", time, path.q1[::5, 0]))
        series.append(_series(f"flawed action, δ = {delta:g}", time, path.q2[::5, 0], True))
        turn = int(path.turn[0])
        if turn == 0:
            turns.append(f"δ = {delta:g}: from the beginning")
        elif turn > 0:
            turns.append(f"δ = {delta:g}: after {turn} steps, at q1 = {path.q1[turn, 0]:.3f}")
    return FigureData(
        "theory_coupled_pair",
        "lines",
        "A coupled pair: the flawed action rises until the good one is likely enough",
        caption=f"Exact steps of size {step_size:g}; r2 = {r2:g}, ξ = {xi:g}. The flawed action "
        "falls where q2 (1-q2) / (q1 (1-q1)) >= ξδ: " + "; ".join(turns) + ".",
        command=COMMAND,
        x_label="steps",
        y_label="probability",
        series=series,
    )


def cold_start(risk: float = 0.4, base: float = 0.2) -> FigureData:
    """Portrait of what a cold start changes: where a pushed action ends, by where it starts."""
    starts = np.linspace(0.01, 0.99, 197)
    series = []
    for share in (0.05, 0.15, 0.24, 0.26):
        ends = follow_action(Drift(share * risk, risk, base), starts, 3000, max_move=0.01)[-1]
        series.append(_series(f"c = {share:g} r", starts, ends))
    grpo = Drift(0.24 * risk, risk, base, estimator=Estimator(8, std_norm=True))
    ends = follow_action(grpo, starts, 3000, max_move=0.01)[-1]
    series.append(_series("c = 0.24 r, GRPO in groups of 8", starts, ends))
    series.append(_series("unchanged", [0, 1], [0, 1], is_dashed=True))
    return FigureData(
        "theory_cold_start",
        "lines",
        "What a cold start changes: an action that starts low ends low, as long as c < r/4",
        caption=f"Where a flawed action with risk r = {risk:g} ends under a constant push c, by "
        "its probability at the start. Below the jump it ends at about c/r, above it at 1. A low "
        "start is pushed up to that point, too. For c > r/4 no start helps.",
        command=COMMAND,
        x_label="probability at the start",
        y_label="probability at the end",
        series=series,
    )


def _series(label: str, x: ArrayLike, y: ArrayLike, is_dashed: bool = False) -> Series:
    first, second = (np.asarray(each, float).tolist() for each in (x, y))
    return Series(label, first, second, style="dashed" if is_dashed else "")

"""Behaviour over a run's checkpoints, as tables and figures: repeats, loops, and consistency.

Shares of actions come from the evaluations that the run made; consistency is measured anew.

Source: GC Figure 8; RM Figures 1, 2, 5 and 10a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from declutch.coupling.consistency import HIGH, RESAMPLES, Consistency
from declutch.coupling.figure_data import FigureData, Series
from declutch.evaluation.behaviour import Shares, shares_of
from declutch.evaluation.results import EvalResult
from declutch.report.cells import count_cell, estimate_cell, number_cell, percent_cell
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words

SHOWN = ("repeated", "looped", "repeated_or_looped", "invalid", "inadmissible")
OUTCOMES = ("all", "won", "failed")


def shares_by_level(result: EvalResult) -> dict[tuple[str, str], Shares]:
    """Coupling as it shows in behaviour: shares of actions by level, in won and failed episodes."""
    found = {}
    for level in result.levels:
        games = [game for game in result.games if game.level == level and game.is_counted]
        for outcome in OUTCOMES:
            chosen = [
                game.counts
                for game in games
                if outcome == "all" or game.is_won == (outcome == "won")
            ]
            found[level, outcome] = shares_of(chosen)
    return found


def behaviour_sheet(results: Sequence[tuple[int, EvalResult]], name: str) -> Sheet:
    """Table of measured behaviour: shares of actions by checkpoint, won and failed ones apart."""
    rows = []
    for iteration, result in results:
        for (level, outcome), shares in shares_by_level(result).items():
            rows.append(
                SheetRow(
                    (
                        Cell(f"{iteration}, {level}, {outcome}"),
                        *(percent_cell(getattr(shares, key)) for key in SHOWN),
                        number_cell(shares.num_steps),
                        count_cell(shares.num_episodes),
                    ),
                    is_apart=outcome == "all",
                )
            )
    return Sheet(
        title=f"Behaviour over training: {name}",
        columns=(
            words("iteration, level, episodes"),
            *(Column(key.replace("_", " "), "%") for key in SHOWN),
            Column("actions an episode"),
            Column("episodes"),
        ),
        rows=tuple(rows),
        notes=(
            "Repeated: the action of the step before once more. Looped: inside of a block of 2 to "
            "6 actions, not all equal, that is repeated at once. Invalid: the response lacked the "
            "format. Inadmissible: well formed, but no command that could be carried out.",
        ),
    )


def consistency_sheet(measured: Sequence[tuple[int, Sequence[Consistency]]], header: str) -> Sheet:
    """Behaviour, second table: how consistent repeated, bad and good actions are by checkpoint."""
    return Sheet(
        title="Consistency of actions",
        columns=(
            words("iteration, actions"),
            Column("consistency", "%"),
            Column("high consistency", "%"),
            Column("resampled steps"),
            Column("steps of the kind"),
        ),
        rows=tuple(
            SheetRow(
                (
                    Cell(f"{iteration}, {each.kind}"),
                    estimate_cell(each.mean),
                    estimate_cell(each.high),
                    count_cell(each.num_steps),
                    count_cell(each.num_found),
                ),
                is_apart=number == 0,
            )
            for iteration, found in measured
            for number, each in enumerate(found)
        ),
        header=header,
        notes=(
            f"Each action was sampled {RESAMPLES} times anew from its prompt. Consistency is the "
            f"share equal to the action that was taken; it is high from {HIGH} of {RESAMPLES} on. "
            "Bad and good are the oracle's labels. A step is more likely to be found the more "
            "consistent it is, which favours high values. Intervals are over episodes.",
        ),
    )


def behaviour_figures(
    results: Sequence[tuple[int, EvalResult]],
    measured: Sequence[tuple[int, Sequence[Consistency]]],
    name: str,
    command: str = "",
) -> list[FigureData]:
    """Figures of an agent's behaviour over checkpoints: shares of actions, consistency."""
    figures = []
    by_iteration = {iteration: shares_by_level(result) for iteration, result in results}
    levels = list(dict.fromkeys(level for found in by_iteration.values() for level, _ in found))
    for level in levels:
        figures.append(
            FigureData(
                name=f"behaviour_{level}",
                kind="lines",
                title=f"Repeated or looped actions on {level}: {name}",
                caption="Share of all actions, in all episodes, in the won and in the failed ones.",
                command=command,
                x_label="iteration",
                y_label="repeated or looped actions, %",
                series=tuple(
                    Series(
                        outcome,
                        list(by_iteration),
                        [
                            100 * found[level, outcome].repeated_or_looped
                            if (level, outcome) in found
                            else float("nan")
                            for found in by_iteration.values()
                        ],
                    )
                    for outcome in OUTCOMES
                ),
            )
        )
    if measured:
        figures.append(_consistency_figure(measured, name, command))
    return figures


def _consistency_figure(
    measured: Sequence[tuple[int, Sequence[Consistency]]], name: str, command: str
) -> FigureData:
    kinds = [each.kind for each in measured[0][1]]
    series = []
    for place, kind in enumerate(kinds):
        for label, key in (("consistency", "mean"), ("high consistency", "high")):
            found = [getattr(each[place], key) for _, each in measured]
            series.append(
                Series(
                    f"{kind}, {label}",
                    [iteration for iteration, _ in measured],
                    [100 * each.mean for each in found],
                    [100 * each.low for each in found],
                    [100 * each.high for each in found],
                    "" if key == "mean" else "dashed",
                )
            )
    return FigureData(
        name="consistency",
        kind="lines",
        title=f"Consistency of actions: {name}",
        caption=f"Each action was sampled {RESAMPLES} times anew; high is {HIGH} equal ones or "
        "more. Whiskers: 95% over episodes.",
        command=command,
        x_label="iteration",
        y_label="share, %",
        series=tuple(series),
    )


def behaviour_data(
    results: Sequence[tuple[int, EvalResult]],
    measured: Sequence[tuple[int, Sequence[Consistency]]],
) -> dict[str, Any]:
    """Behaviour over a run's checkpoints as the data of a JSON file."""
    return {
        "behaviour": [
            {"iteration": iteration, "level": level, "episodes": outcome, **vars(shares)}
            for iteration, result in results
            for (level, outcome), shares in shares_by_level(result).items()
        ],
        "consistency": [
            {"iteration": iteration, **_consistency_data(each)}
            for iteration, found in measured
            for each in found
        ],
    }


def _consistency_data(each: Consistency) -> Mapping[str, Any]:
    return {
        "kind": each.kind,
        "consistency": each.mean.mean,
        "consistency_interval": [each.mean.low, each.mean.high],
        "high": each.high.mean,
        "high_interval": [each.high.low, each.high.high],
        "steps": each.num_steps,
        "found": each.num_found,
    }

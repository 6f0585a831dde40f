"""Tables and figures of the papers that training runs hold already: success, behaviour, time.

They are made of what `runs` reads back, without a model: evaluations, metrics and judgments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from declutch.coupling.figure_data import FigureData, Series
from declutch.evaluation.summary import MAIN_LEVELS, MEAN_LEVEL, Row, summarise
from declutch.ground.errors import UserError
from declutch.report.cells import count_cell, estimate_cell, number_cell
from declutch.report.judging import judging_sheet
from declutch.report.sections import mean_phases, phase_sheet
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.report.tables import behaviour_sheet
from declutch.runs.read import Evaluation, RunData


def success_table(runs: Sequence[RunData]) -> Sheet:
    """Table of the runs' success on every level at their last evaluation, a row a run."""
    rows = []
    for run in runs:
        last = _last(run)
        found = {row.level: row for row in summarise(last.result, by_kind=False)}
        levels = [
            estimate_cell(found[level].success) if level in found else Cell("–")
            for level in (*MAIN_LEVELS, MEAN_LEVEL)
        ]
        rows.append(SheetRow((Cell(run.name), count_cell(last.iteration), *levels)))
    columns = (
        words("run"),
        Column("iteration"),
        *(Column(level, "%") for level in (*MAIN_LEVELS, MEAN_LEVEL)),
    )
    note = (
        "Share of games won. Intervals are 95% ones over the games of one run and say nothing of "
    )
    note += "other seeds; `declutch compare` pools seeds."
    return Sheet("Success by level", columns, tuple(rows), notes=(note,))


def success_curves(runs: Sequence[RunData]) -> FigureData:
    """Figure beside the tables of runs: success over training, a curve for each run and level."""
    series = []
    for run in runs:
        levels: dict[str, list[tuple[int, Row]]] = {}
        for evaluation in run.evaluations:
            for row in summarise(evaluation.result, by_kind=False):
                levels.setdefault(row.level, []).append((evaluation.iteration, row))
        for level in MAIN_LEVELS:
            points = levels.get(level, [])
            if points:
                series.append(
                    Series(
                        f"{run.name} {level}",
                        [float(iteration) for iteration, _ in points],
                        [100 * row.success.mean for _, row in points],
                        [100 * row.success.low for _, row in points],
                        [100 * row.success.high for _, row in points],
                    )
                )
    return FigureData(
        "success",
        "lines",
        "Success over training",
        caption="Share of games won at each evaluation, with 95% intervals over games.",
        x_label="iteration",
        y_label="success, %",
        series=series,
    )


def behaviour_table(runs: Sequence[RunData]) -> Sheet:
    """Table of what actions were like in the runs' last evaluations, won and lost plays apart."""
    policies = {run.name: summarise(_last(run).result, by_kind=False) for run in runs}
    return behaviour_sheet(policies, "Behaviour at the last evaluation")


def behaviour_curves(
    runs: Sequence[RunData], name: str, label: str, value: Callable[[Row], tuple[float, ...]]
) -> FigureData:
    """Figure beside the tables of runs: a share of actions over the runs' checkpoints.

    Args:
        value: of a row of a level: one number, or two for won and for lost plays.
    """
    series = []
    for run in runs:
        for level in MAIN_LEVELS:
            points = [
                (evaluation.iteration, value(row))
                for evaluation in run.evaluations
                for row in summarise(evaluation.result, by_kind=False)
                if row.level == level
            ]
            kinds = ("",) if points and len(points[0][1]) == 1 else (" won", " not won")
            for index, kind in enumerate(kinds if points else ()):
                series.append(
                    Series(
                        f"{run.name} {level}{kind}",
                        [float(iteration) for iteration, _ in points],
                        [numbers[index] for _, numbers in points],
                    )
                )
    return FigureData(
        name,
        "lines",
        f"{label[:1].upper()}{label[1:]} over training",
        caption="At each evaluation of the run, by level.",
        x_label="iteration",
        y_label=label,
        series=series,
    )


def length_table(runs: Sequence[RunData]) -> Sheet:
    """Table of runs for the papers' items: mean tokens per response at the last evaluation."""
    rows = []
    for run in runs:
        found = {row.level: row for row in summarise(_last(run).result, by_kind=False)}
        cells = [
            number_cell(found[level].shares.response_tokens) if level in found else Cell("–")
            for level in MAIN_LEVELS
        ]
        rows.append(SheetRow((Cell(run.name), *cells)))
    columns = (words("run"), *(Column(level, "tokens") for level in MAIN_LEVELS))
    return Sheet("Response length", columns, tuple(rows))


def time_table(runs: Sequence[RunData]) -> Sheet:
    """Table of runs: their hours in all, and seconds per iteration by phase."""
    rows = []
    for run in runs:
        means = mean_phases(run.metrics)
        if not sum(means.values()):
            raise UserError(f"{run.name} recorded no times")
        seconds = sum(means.values())
        parts = ", ".join(
            f"{row.cells[0].text} {row.cells[1].text}" for row in phase_sheet(means).rows
        )
        hours = seconds * len(run.metrics) / 3600
        rows.append(
            SheetRow((Cell(run.name), number_cell(hours, 3), number_cell(seconds, 2), Cell(parts)))
        )
    columns = (
        words("run"),
        Column("time", "hours"),
        Column("per iteration", "s"),
        words("mean seconds by phase"),
    )
    return Sheet("Time", columns, tuple(rows))


def judge_tables(runs: Sequence[RunData]) -> list[Sheet]:
    """Tables of runs for the papers' items: how well each run judges steps (`eval.judge=true`).

    Raises:
        UserError: no evaluation of a run was judged.
    """
    sheets = []
    for run in runs:
        sheet = judging_sheet(run)
        if not sheet.rows:
            raise UserError(
                f"no evaluation of {run.name} was judged; `declutch eval {run.name} "
                "eval.judge=true` does it"
            )
        sheets.append(Sheet(run.name, sheet.columns, sheet.rows, sheet.header, sheet.notes))
    return sheets


def shares_of_flaws(row: Row) -> tuple[float, ...]:
    """Repeated or looped actions of a row of the runs' tables, in percent."""
    return (100 * row.shares.repeated_or_looped,)


def repeats_by_outcome(row: Row) -> tuple[float, ...]:
    """Repeated actions in won and in other plays of a row of the runs' tables, in percent."""
    return (100 * row.shares_won.repeated, 100 * row.shares_failed.repeated)


def num_actions(row: Row) -> tuple[float, ...]:
    """Mean steps of a play, of a row of the runs' tables."""
    return (row.shares.num_steps,)


def share_sheet(data: FigureData) -> Sheet:
    """Table of runs: a share of actions per run and checkpoint, the numbers behind its figure."""
    rows = [
        SheetRow((Cell(series.label), number_cell(x, 0), number_cell(y, 2)))
        for series in data.series
        for x, y in zip(series.x, series.y, strict=True)
    ]
    columns = (words("run and level"), Column(data.x_label), Column(data.y_label))
    return Sheet(data.title, columns, tuple(rows))


def _last(run: RunData) -> Evaluation:
    if not run.evaluations:
        raise UserError(f"{run.name} has no evaluation; `declutch eval` makes one")
    return run.evaluations[-1]

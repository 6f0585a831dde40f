"""The report's section on how well steps of the evaluations were judged."""

from __future__ import annotations

from collections.abc import Iterator

from declutch.evaluation.exam_results import JudgeResult, JudgeRow, summarise_judgments
from declutch.evaluation.intervals import OVER_GAMES
from declutch.evaluation.results import EvalResult
from declutch.report.cells import count_cell, estimate_cell, percent_cell
from declutch.report.drawers.html import draw_html
from declutch.report.headers import describe_judging
from declutch.report.policies import COLD_START, CONTROL
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.runs.read import RunData

COLUMNS = (
    *(words("level"), Column("steps"), Column("games"), Column("accuracy", "%")),
    *(Column("on good steps", "%"), Column("on bad steps", "%"), Column("unreadable", "%")),
    *(Column("a constant would", "%"), Column("all labelled steps", "%")),
    Column("a constant would there", "%"),
)


def judging_section(data: RunData) -> str:
    """The report's judging section, on judge accuracy; "" where no evaluation was judged."""
    if not any(_judged(data)):
        return ""
    return (
        '<h3>Can it judge?</h3><p class="caption">Verdicts on steps played in the evaluation, '
        "half of them good: an unreadable verdict is wrong, a constant one right on half. "
        f"Intervals are 95% ones over {OVER_GAMES}. On the right is what the accuracy on good and "
        f"on bad steps comes to on all labelled steps.</p>{draw_html(judging_sheet(data))}"
    )


def judging_sheet(data: RunData) -> Sheet:
    """Table of the report's judging section: cold start, last policy, control and others."""
    lines = []
    for name, result, judge in _judged(data):
        heading = f"{name}: {describe_judging(result, judge)}"
        lines.append(SheetRow((Cell(heading),), "heading"))
        lines += [_row(row) for row in summarise_judgments(judge)]
    return Sheet("", COLUMNS, tuple(lines))


def _judged(data: RunData) -> Iterator[tuple[str, EvalResult, JudgeResult]]:
    results = {COLD_START: data.before, CONTROL: data.control, **data.others}
    if data.after is not None:
        results[f"iteration {data.after.iteration}"] = data.after.result
    for name, result in results.items():
        if result is not None and result.judge is not None:
            yield name, result, result.judge


def _row(row: JudgeRow) -> SheetRow:
    shares = (
        *(row.accuracy_good.mean, row.accuracy_bad.mean, row.unreadable, row.constant),
        *(row.labelled_accuracy, row.labelled_constant),
    )
    cells = [Cell(row.level), count_cell(row.num_steps), count_cell(row.num_games)]
    cells += [estimate_cell(row.accuracy), *map(percent_cell, shares)]
    return SheetRow(tuple(cells))

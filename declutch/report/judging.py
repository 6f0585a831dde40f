"""How well steps of the evaluations were judged."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from declutch.evaluation.exam_results import JudgeResult, JudgeRow, summarise_judgments
from declutch.evaluation.results import EvalResult
from declutch.report.policies import COLD_START, CONTROL
from declutch.report.sections import DASH, table_html
from declutch.report.tables import describe_steps, format_interval, format_percent
from declutch.runs.read import RunData

HEADINGS = (
    *("level", "steps", "games", "accuracy", "on good steps", "on bad steps", "unreadable"),
    *("a constant would", "all labelled steps", "a constant would"),
)


def judging_section(data: RunData) -> str:
    """Judge accuracy of the cold start, the last policy, the control and further evaluations; ""
    where none of them was asked to judge.
    """
    body = []
    for name, result, judge in _judged(data):
        steps = describe_steps(result, judge)
        of = f"{name}: {judge.judge} judges {steps} at temperature {judge.temperature:g}, "
        of += f"{judge.labels} labels"
        body.append(f'<tr class="level"><th colspan="{len(HEADINGS)}">{escape(of)}</th></tr>')
        body += [_row(row) for row in summarise_judgments(judge)]
    if not body:
        return ""
    return (
        '<h3>Can it judge?</h3><p class="caption">Verdicts on steps played in the evaluation, '
        "half of them good: an unreadable verdict is wrong, a constant one right on half. "
        "Intervals are 95%, by game. On the right is what the accuracy on good and on bad steps "
        "comes to on all labelled steps.</p>" + table_html(HEADINGS, body)
    )


def _judged(data: RunData) -> Iterator[tuple[str, EvalResult, JudgeResult]]:
    results = {COLD_START: data.before, CONTROL: data.control, **data.others}
    if data.after is not None:
        results[f"iteration {data.after.iteration}"] = data.after.result
    for name, result in results.items():
        if result is not None and result.judge is not None:
            yield name, result, result.judge


def _row(row: JudgeRow) -> str:
    shares = (
        *(row.accuracy_good.mean, row.accuracy_bad.mean, row.unreadable, row.constant),
        *(row.labelled_accuracy, row.labelled_constant),
    )
    accuracy = _percent(row.accuracy.mean)
    if row.accuracy.n:
        accuracy += f" <small>{format_interval(row.accuracy)}</small>"
    cells = [str(row.num_steps), str(row.num_games), accuracy, *map(_percent, shares)]
    values = "".join(f'<td class="num">{cell}</td>' for cell in cells)
    return f'<tr class="kind"><th>{escape(row.level)}</th>{values}</tr>'


def _percent(share: float) -> str:
    return DASH if share != share else f"{format_percent(share)}%"

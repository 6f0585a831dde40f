"""The list of all metrics as tables, for the reference page that is made of the catalogue."""

from __future__ import annotations

from declutch.report.drawers.markdown import draw_markdown
from declutch.report.sheet import Cell, Sheet, SheetRow, words
from declutch.runs.catalogue import METRICS, SECTIONS
from declutch.runs.metric import Metric

INTRODUCTION = """# Metrics

A run records a line for each iteration in `metrics.jsonl`; a metric that does not apply to the run
or to the iteration is left out. The unit *%* is a share, which is recorded as a number in [0, 1]
and shown as a percentage, and *s* are seconds; a metric without a unit is a plain number or a
count. A word in braces stands for several keys, such as one for each type of tasks. `sha256` is no
metric but the checksum of the line.

The last column says where else a metric is shown: in the tables of the live view; in the plain line
that an iteration prints where there is no terminal, with its name there; and in a chart of the
report. The list is made of `declutch/runs/catalogue.py`, the only place that knows a metric's key.
"""


def metrics_page() -> str:
    """The list of all metrics as the page docs/reference/metrics.md, a table per section."""
    return "\n".join([INTRODUCTION, *(draw_markdown(section_sheet(name)) for name in SECTIONS)])


def section_sheet(section: str) -> Sheet:
    """Table of one section of the list of metrics: key, name, unit, meaning, and where shown."""
    return Sheet(
        title=section,
        header=SECTIONS[section],
        columns=tuple(map(words, ("key", "name", "unit", "meaning", "shown"))),
        rows=tuple(_row(metric) for metric in METRICS if metric.section == section),
    )


def _row(metric: Metric) -> SheetRow:
    meaning = metric.meaning
    if metric.aliases:
        meaning += f" Runs of the version before have {', '.join(metric.aliases)} instead."
    texts = (metric.key, metric.label, metric.unit, meaning, _places(metric))
    return SheetRow(tuple(map(Cell, texts)))


def _places(metric: Metric) -> str:
    places = ["live view"] if metric.is_live else []
    places += [f"line: {metric.plain}"] if metric.plain else []
    places += [f"report: {metric.chart}"] if metric.chart else []
    return ", ".join(places)

"""The numbers behind the charts of a run's report, as plain data for its script."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from declutch.evaluation.intervals import Estimate
from declutch.evaluation.summary import MAIN_LEVELS, MEAN_LEVEL, success_rates
from declutch.report.policies import PolicyComparison
from declutch.runs.catalogue import CHARTS, chart_of, find, listed
from declutch.runs.metric import Chart, Metric
from declutch.runs.read import Metrics, RunData

DIGITS = 5
PALETTE = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
"""Colours of the page, for lines whose metric names none."""


def chart_data(data: RunData, comparison: PolicyComparison) -> dict[str, Any]:
    """Curves and other charts of a run's report, with all numbers that they are drawn from.

    Returns:
        {"iterations": [...], "charts": [...] as of `charts_of`, "metrics": {key: [...]},
        "evaluations": {level: [[iteration, mean, low, high, n], ...]}, "comparison": [...]};
        numbers have five significant digits.
    """
    charts = charts_of(data.metrics)
    keys = [line["key"] for chart in charts for line in chart["lines"]]
    return {
        "iterations": [row["iteration"] for row in data.metrics],
        "charts": charts,
        "metrics": {key: [shorten(row.get(key)) for row in data.metrics] for key in keys},
        "evaluations": evaluation_points(data),
        "comparison": comparison_points(comparison),
    }


def charts_of(rows: Sequence[Metrics]) -> list[dict[str, Any]]:
    """The curves of a run's metrics by chart, for its report: as in the catalogue, a line per key.

    Evaluations have their chart in any case. A key that the catalogue does not list, such as one
    that code outside of the package recorded, has a chart of its own.
    """
    lines: dict[Chart, list[tuple[Metric, str]]] = {chart: [] for chart in CHARTS}
    for metric, key in _charted(rows):
        chart = chart_of(metric)
        if chart is not None and chart.kind != "levels":
            lines.setdefault(chart, []).append((metric, key))
    return [
        _describe(chart, found) for chart, found in lines.items() if found or chart.kind == "levels"
    ]


def _charted(rows: Sequence[Metrics]) -> list[tuple[Metric, str]]:
    """The metric of each key that any iteration has, in the catalogue's order."""
    by_metric: dict[Metric, list[str]] = defaultdict(list)
    unlisted = []
    for key in dict.fromkeys(key for row in rows for key in row):
        metric = find(key)
        if metric is None:
            unlisted.append((Metric(key, key, "", "", chart=key), key))
        else:
            by_metric[metric].append(key)
    return [(metric, key) for metric in listed() for key in by_metric[metric]] + unlisted


def _describe(chart: Chart, found: Sequence[tuple[Metric, str]]) -> dict[str, Any]:
    is_share = chart.kind == "levels" or all(metric.unit == "%" for metric, _ in found)
    colored = zip(found, cycle(PALETTE), strict=False)
    return {
        **vars(chart),
        "low": 0 if is_share and chart.low is None else chart.low,
        "is_share": is_share,
        "axis": chart.axis or _common_unit([metric for metric, _ in found]),
        "lines": [
            {"name": metric.legend(key), "key": key, "color": metric.color or color}
            for (metric, key), color in colored
        ],
    }


def _common_unit(metrics: Sequence[Metric]) -> str:
    units = {metric.unit for metric in metrics}
    (unit,) = units if len(units) == 1 else ("",)
    return {"": "value", "%": "share"}.get(unit, unit)


def evaluation_points(data: RunData) -> dict[str, list[list[float | None]]]:
    """Points of the curves of success in a run's report, one per evaluation, main levels first.

    Returns:
        Level -> a list [iteration, mean, low, high, n] for each evaluation, in order.
    """
    points: dict[str, list[list[float | None]]] = {}
    for evaluation in data.evaluations:
        for (level, _), success in success_rates(evaluation.result, by_kind=False).items():
            if level != MEAN_LEVEL:
                points.setdefault(level, []).append([evaluation.iteration, *_point(success)])
    order = [*MAIN_LEVELS, *sorted(set(points) - set(MAIN_LEVELS))]
    return {level: points[level] for level in order if level in points}


def comparison_points(comparison: PolicyComparison) -> list[dict[str, Any]]:
    """Points beside a report's curves: success of cold start, control, trained policy per level."""
    levels: dict[str, list[dict[str, Any]]] = {}
    for policy in comparison.policies:
        for (level, kind), row in policy.rows.items():
            if not kind:
                point = {"policy": policy.name, "point": _point(row.success)}
                levels.setdefault(level, []).append(point)
    mean_last = sorted(levels, key=lambda level: level == MEAN_LEVEL)
    return [{"level": level, "points": levels[level]} for level in mean_last]


def shorten(value: float | None) -> float | None:
    """A number of a report's curves cut to five significant digits, so that pages stay small."""
    if value is None or isinstance(value, int):
        return value
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _point(success: Estimate) -> list[float | None]:
    if success.n == 0:
        return [None, None, None, 0]
    return [shorten(success.mean), shorten(success.low), shorten(success.high), success.n]

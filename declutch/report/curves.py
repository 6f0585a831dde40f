"""The numbers behind the charts of a run's report, as plain data for its script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from declutch.evaluation.summary import MAIN_LEVELS, MEAN_LEVEL, Row, summarise
from declutch.report.policies import PolicyComparison
from declutch.runs.read import Metrics, RunData

DIGITS = 5
PHASES = ("play", "label", "judge", "update", "eval", "save")
CHARTED = ("agent/", "judge/", "labels/", "suggestions/", "update/", "time/")


def chart_data(data: RunData, comparison: PolicyComparison) -> dict[str, Any]:
    """All numbers that the charts of a run's report are drawn from.

    Returns:
        {"iterations": [...], "metrics": {key: [...]}, "evaluations": {level: [[iteration, mean,
        low, high, n], ...]}, "comparison": [...]}; numbers have five significant digits.
    """
    return {
        "iterations": [row["iteration"] for row in data.metrics],
        "metrics": metric_columns(data.metrics),
        "evaluations": evaluation_points(data),
        "comparison": comparison_points(comparison),
    }


def metric_columns(rows: Sequence[Metrics]) -> dict[str, list[float | None]]:
    """Metrics of all iterations as columns for a report's charts; None where one lacks a metric."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith(CHARTED))
    return {key: [shorten(row.get(key)) for row in rows] for key in keys}


def evaluation_points(data: RunData) -> dict[str, list[list[float | None]]]:
    """Success at each evaluation for a report's charts, main levels first.

    Returns:
        Level -> a list [iteration, mean, low, high, n] for each evaluation, in order.
    """
    points: dict[str, list[list[float | None]]] = {}
    for evaluation in data.evaluations:
        for row in summarise(evaluation.result, by_kind=False):
            if row.level != MEAN_LEVEL:
                points.setdefault(row.level, []).append([evaluation.iteration, *_point(row)])
    order = [*MAIN_LEVELS, *sorted(set(points) - set(MAIN_LEVELS))]
    return {level: points[level] for level in order if level in points}


def comparison_points(comparison: PolicyComparison) -> list[dict[str, Any]]:
    """Success of cold start, control and trained policy per level, for a report's chart."""
    levels: dict[str, list[dict[str, Any]]] = {}
    for policy in comparison.policies:
        for (level, kind), row in policy.rows.items():
            if not kind:
                point = {"policy": policy.name, "point": _point(row)}
                levels.setdefault(level, []).append(point)
    mean_last = sorted(levels, key=lambda level: level == MEAN_LEVEL)
    return [{"level": level, "points": levels[level]} for level in mean_last]


def mean_phases(rows: Sequence[Metrics]) -> Mapping[str, float]:
    """Mean seconds of each phase of training over all iterations; an absent phase took none."""
    means = {}
    for phase in PHASES:
        key = f"time/{phase}"
        if any(key in row for row in rows):
            means[phase] = sum(row.get(key) or 0.0 for row in rows) / len(rows)
    return means


def shorten(value: float | None) -> float | None:
    """A number of a chart cut to five significant digits, so that pages stay small."""
    if value is None or isinstance(value, int):
        return value
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _point(row: Row) -> list[float | None]:
    success = row.success
    if success.n == 0:
        return [None, None, None, 0]
    return [shorten(success.mean), shorten(success.low), shorten(success.high), success.n]

"""Numbers as cells of a table: rounded to read, whole beside it, a dash where there is none."""

from __future__ import annotations

import math

from declutch.evaluation.intervals import Estimate, McNemar
from declutch.report.sheet import Cell, Tone

DASH = "–"
"""What is shown where there is no number."""


def count_cell(count: int) -> Cell:
    """Make the cell of a whole number, for report tables."""
    return Cell(str(count), count)


def number_cell(value: float, digits: int = 1) -> Cell:
    """Make the cell of a number with fixed decimals, such as mean steps, for report tables."""
    return Cell(DASH if math.isnan(value) else f"{value:.{digits}f}", value)


def percent_cell(share: float, tone: Tone = "") -> Cell:
    """Make the cell of a share in [0, 1], in percent, for report tables."""
    return Cell(format_percent(share), 100 * share, tone=tone)


def estimate_cell(estimate: Estimate, tone: Tone = "") -> Cell:
    """Make the cell of a share with its 95% interval, in percent, for report tables."""
    if estimate.n == 0:
        return Cell(DASH, math.nan, tone=tone)
    return Cell(
        text=format_percent(estimate.mean),
        value=100 * estimate.mean,
        detail=format_interval(estimate),
        interval=(100 * estimate.low, 100 * estimate.high),
        tone=tone,
        hint=f"95% interval over {estimate.over}",
    )


def difference_cell(estimate: Estimate, test: McNemar | None = None) -> Cell:
    """Make the cell of a difference of shares with its interval, in percent points, for tables.

    Its tone says whether the interval leaves zero out, and its hint how many games were compared.
    """
    if estimate.n == 0:
        return Cell(DASH, math.nan)
    hint = f"95% interval over {estimate.over}; {estimate.n} games played by both"
    if test is not None:
        hint += (
            f"; exact McNemar p = {test.p_value:.2g}, "
            f"{test.only_second} won by the second alone, {test.only_first} by the first"
        )
    return Cell(
        text=f"{100 * estimate.mean:+.1f}",
        value=100 * estimate.mean,
        detail=format_interval(estimate, is_signed=True),
        interval=(100 * estimate.low, 100 * estimate.high),
        tone=direction(estimate),
        hint=hint,
    )


def p_value_cell(test: McNemar | None) -> Cell:
    """Make the cell of the p-value of McNemar's test, for report tables."""
    if test is None:
        return Cell(DASH, math.nan)
    return Cell("<.001" if test.p_value < 0.001 else f"{test.p_value:.3f}", test.p_value)


def direction(difference: Estimate) -> Tone:
    """Tone of table cells for a difference beyond chance: "up", "down", or "" for neither."""
    if difference.n == 0 or not difference.excludes_zero:
        return ""
    return "up" if difference.mean > 0 else "down"


def format_percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1] as the text of table cells in percent, 0.1234 as "12.3"; a dash for NaN."""
    return DASH if math.isnan(share) else f"{100 * share:.{digits}f}"


def format_interval(estimate: Estimate, *, is_signed: bool = False) -> str:
    """A share's interval as the text of table cells in points, "[48.0, 57.7]"; a dash for none."""
    if estimate.n == 0:
        return DASH
    sign = "+" if is_signed else ""
    return f"[{100 * estimate.low:{sign}.1f}, {100 * estimate.high:{sign}.1f}]"


def format_number(value: float, digits: int = 3) -> str:
    """A number as the text of table cells, to `digits` significant digits; a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:.{digits}g}"

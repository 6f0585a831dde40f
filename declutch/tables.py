"""Summaries as aligned terminal tables; every header names protocol, temperature and n."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from declutch.results import EvalResult
from declutch.stats import Estimate
from declutch.summary import MEAN_LEVEL, PairedRow, Row, paired, summarise

DASH = "-"


def result_table(*runs: EvalResult) -> Table:
    """Success and behaviour per level and task type of one evaluation (or of several seeds)."""
    rows = summarise(*runs)
    table = Table(title=describe_header(runs), title_justify="left", header_style="bold")
    table.add_column("level", no_wrap=True)
    table.add_column("task type", no_wrap=True)
    headings = ("n", "success %", "95% interval", "steps", "timed out %", "repeated %", "looped %")
    for heading in (*headings, "invalid %", "inadmissible %", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    if any(row.num_env_errors for row in rows):
        table.add_column("env errors (left out)", justify="right", style="red")
    for row in rows:
        _add_section(table, row.level, row.kind)
        cells = _result_cells(row)
        if any(other.num_env_errors for other in rows):
            cells.append(str(row.num_env_errors) if row.num_env_errors else "")
        table.add_row(*cells, style="" if row.kind else "bold")
    return table


def paired_table(
    before: EvalResult | Sequence[EvalResult], after: EvalResult | Sequence[EvalResult]
) -> Table:
    """Success of two policies on the same games, with the interval of the difference."""
    first = (before,) if isinstance(before, EvalResult) else tuple(before)
    second = (after,) if isinstance(after, EvalResult) else tuple(after)
    rows = paired(first, second)
    title = f"{first[0].policy} → {second[0].policy} on the same games\n{describe_header(second)}"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("level", no_wrap=True)
    table.add_column("task type", no_wrap=True)
    for heading in ("n", "before %", "after %", "difference", "95% interval", "McNemar p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        _add_section(table, row.level, row.kind)
        table.add_row(*_paired_cells(row), style="" if row.kind else "bold")
    return table


def describe_header(runs: Sequence[EvalResult]) -> str:
    """One line: policy, cold-start protocol, temperature, seeds, plays."""
    first = runs[0]
    policies = list(dict.fromkeys(run.policy for run in runs))
    seeds = sorted({seed for run in runs for seed in run.seeds})
    plays = sum(game.is_counted for run in runs for game in run.games)
    parts = [
        ", ".join(policies),
        f"protocol {first.protocol}" if first.protocol else "no cold start",
        f"temperature {format_number(first.temperature)}",
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds)) or DASH}",
        f"n = {plays} plays",
    ]
    if len(runs) > 1:
        parts.append(f"{len(runs)} training runs")
    if first.max_steps is not None:
        parts.append(f"at most {first.max_steps} steps")
    return " · ".join(parts)


def format_percent(share: float, digits: int = 1) -> str:
    """0.1234 as "12.3"; a dash where there is nothing."""
    return DASH if math.isnan(share) else f"{100 * share:.{digits}f}"


def format_interval(estimate: Estimate, *, is_signed: bool = False) -> str:
    """The interval in percent points."""
    if estimate.n == 0:
        return DASH
    sign = "+" if is_signed else ""
    return f"[{100 * estimate.low:{sign}.1f}, {100 * estimate.high:{sign}.1f}]"


def format_number(value: float, digits: int = 3) -> str:
    """Up to `digits` significant digits; a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:.{digits}g}"


def _result_cells(row: Row) -> list[str | Text]:
    shares = row.shares
    count = str(row.success.n)
    if row.num_plays != row.success.n and row.level != MEAN_LEVEL:
        count = f"{row.success.n} ({row.num_plays} plays)"
    return [
        "" if row.kind else row.level,
        row.kind or "all",
        count,
        format_percent(row.success.mean),
        format_interval(row.success),
        DASH if math.isnan(shares.num_steps) else f"{shares.num_steps:.1f}",
        format_percent(row.timed_out),
        format_percent(shares.repeated),
        format_percent(shares.looped),
        format_percent(shares.invalid),
        format_percent(shares.inadmissible),
        DASH if math.isnan(shares.response_tokens) else f"{shares.response_tokens:.1f}",
    ]


def _paired_cells(row: PairedRow) -> list[str | Text]:
    difference = row.difference
    style = ""
    if difference.excludes_zero:
        style = "green" if difference.mean > 0 else "red"
    return [
        "" if row.kind else row.level,
        row.kind or "all",
        str(difference.n),
        format_percent(row.before),
        format_percent(row.after),
        Text(DASH if difference.n == 0 else f"{100 * difference.mean:+.1f}", style=style),
        Text(format_interval(difference, is_signed=True), style=style),
        DASH if row.test is None else f"{row.test.p_value:.2g}",
    ]


def _add_section(table: Table, level: str, kind: str) -> None:
    if table.row_count and not kind:
        table.add_section()

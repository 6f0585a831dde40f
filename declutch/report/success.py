"""The report's sections on what a run's policies reached: cards, comparison, scores, behaviour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from declutch.evaluation.intervals import NOTHING, Estimate
from declutch.evaluation.results import has_partial_scores
from declutch.evaluation.summary import MAIN_LEVELS, MEAN_LEVEL, PairedRow, Row
from declutch.report.cells import (
    DASH,
    count_cell,
    difference_cell,
    direction,
    estimate_cell,
    format_interval,
    format_percent,
    percent_cell,
)
from declutch.report.drawers.html import draw_html
from declutch.report.headers import describe_header, describe_level
from declutch.report.pieces import caption_html, empty_html
from declutch.report.policies import (
    COLD_START,
    CONTROL,
    TRAINED,
    PolicyComparison,
    PolicyRows,
)
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.report.tables import behaviour_sheet
from declutch.runs.read import RunData

NOT_EVALUATED = empty_html("Nothing has been evaluated yet.")
SHORT = {TRAINED: "RL"}


def score_cards(data: RunData, comparison: PolicyComparison) -> str:
    """The report's cards of success per level: now, at the start, and the paired difference."""
    start, trained = comparison.policy(COLD_START), comparison.policy(TRAINED)
    shown = trained or start
    if shown is None:
        return NOT_EVALUATED
    pairs = comparison.differences.get((COLD_START, TRAINED), {})
    before = start.rows if start and trained else {}
    cards = [
        _card(shown.rows[key], before.get(key), pairs.get(key), shown.result.suite)
        for key in comparison.keys
        if key in shown.rows and key[0] in (*MAIN_LEVELS, MEAN_LEVEL) and not key[1]
    ]
    when = f"after {data.after.iteration} iterations" if data.after else "of the cold start"
    caption = caption_html(f"Success {when} · {describe_header([shown.result])}")
    return f'{caption}<div class="cards">{"".join(cards)}</div>'


def comparison_section(comparison: PolicyComparison) -> str:
    """The report's success section: tables, and what could not be compared or counted."""
    if not comparison.policies:
        return ""
    sheets = [comparison_sheet(comparison)]
    if any(has_partial_scores(policy.result.games) for policy in comparison.policies):
        sheets.append(score_sheet(comparison))
    warnings = [*comparison.problems, *_env_errors(comparison.policies)]
    return "".join(
        [*map(draw_html, sheets), *(caption_html(line, is_warning=True) for line in warnings)]
    )


def comparison_sheet(comparison: PolicyComparison) -> Sheet:
    """Table of the report's success section: a run's policies and their paired differences."""
    policies = comparison.policies
    wanted = [(COLD_START, TRAINED), (CONTROL, TRAINED)]
    if comparison.policy(TRAINED) is None:
        wanted = [(COLD_START, CONTROL)]
    pairs = [pair for pair in wanted if pair in comparison.differences]
    suite = policies[0].result.suite
    lines = []
    for level, kind in comparison.keys:
        rows = [policy.rows.get((level, kind)) for policy in policies]
        gains = [comparison.differences[pair].get((level, kind)) for pair in pairs]
        name = Cell(kind) if kind else Cell(level, detail=describe_level(level, suite))
        cells = [name, count_cell(max((row.success.n for row in rows if row), default=0))]
        cells += [estimate_cell(row.success if row else NOTHING) for row in rows]
        cells += [
            difference_cell(gain.difference, gain.test) if gain else difference_cell(NOTHING)
            for gain in gains
        ]
        lines.append(SheetRow(tuple(cells), "part" if kind else "main"))
    columns = [Column(policy.name, "%") for policy in policies]
    columns += [Column(f"{SHORT.get(second, second)} − {first}") for first, second in pairs]
    return Sheet("", (words("level and task type"), Column("games"), *columns), tuple(lines))


def score_sheet(comparison: PolicyComparison) -> Sheet:
    """Table of the report's success section: what partial scores tell beside success, per level."""
    policies = comparison.policies
    lines = []
    for level, kind in comparison.keys:
        if kind or level == MEAN_LEVEL:
            continue
        cells = [Cell(level)]
        for policy in policies:
            row = policy.rows.get((level, ""))
            shares = (row.score, row.finished_positive) if row else (math.nan, math.nan)
            cells += map(percent_cell, shares)
        lines.append(SheetRow(tuple(cells), "main"))
    kinds = ("mean score", "finished positive")
    columns = [Column(f"{policy.name}, {kind}", "%") for policy in policies for kind in kinds]
    return Sheet("", (words("level"), *columns), tuple(lines))


def behaviour_section(comparison: PolicyComparison) -> str:
    """The report's section on success, its second table: what the policies' actions were."""
    if not comparison.policies:
        return NOT_EVALUATED
    keys = comparison.keys
    named = {
        policy.name: [policy.rows[key] for key in keys if key in policy.rows]
        for policy in comparison.policies
    }
    return draw_html(behaviour_sheet(named, ""))


def _card(row: Row, start: Row | None, pair: PairedRow | None, suite: str) -> str:
    level, success = row.level, row.success
    origin = ""
    if start is not None:
        origin = f'<span class="from">{_share(start.success)} →</span> '
    change = ""
    if pair is not None and pair.difference.n:
        change = (
            f'<p class="change {direction(pair.difference) or "even"}">'
            f"{_signed(pair.difference.mean)} points "
            f"<small>{format_interval(pair.difference, is_signed=True)}</small></p>"
        )
    meaning = describe_level(level, suite)
    return (
        f'<div class="card level-{escape(level)}"><h3>{escape(level)}<small>{escape(meaning)}'
        f'</small></h3><p class="big">{origin}{_share(success)}</p>'
        f'<p class="interval">{format_interval(success)} · n = {success.n}</p>{change}</div>'
    )


def _share(success: Estimate) -> str:
    return f"{format_percent(success.mean)}%" if success.n else DASH


def _env_errors(policies: Sequence[PolicyRows]) -> list[str]:
    rows = [row for policy in policies for row in policy.rows.values()]
    count = sum(row.num_env_errors for row in rows if not row.kind and row.level != MEAN_LEVEL)
    if not count:
        return []
    return [
        f"{count} plays of these evaluations ended in an environment error; they are left out of "
        "every number above."
    ]


def _signed(share: float) -> str:
    # A minus sign as wide as the plus sign.
    return f"{100 * share:+.1f}".replace("-", "−")

"""The tables drawn: on a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from declutch.compare.runs import Comparison, Picks, picks_at, success_rows

CSV_COLUMNS = (
    *("method", "gcd", "seed", "level", "kind"),
    *("iteration", "mean", "low", "high", "n"),
)
ALL = "all"


def csv_text(comparison: Comparison) -> str:
    """One line per arm, seed or "all", evaluation, level and task type.

    Iteration 0 is the cold start; kind "" is all task types, and n counts games.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for arm in comparison.arms:
        runs = comparison.of(arm)
        name = [arm.method, "on" if arm.has_gcd else "off"]
        for iteration in sorted({key for run in runs for key in run.evaluations}):
            picks = picks_at(runs, iteration)
            for pick in picks:
                writer.writerows(_csv_rows([*name, str(pick.run.id.seed)], (pick,)))
            writer.writerows(_csv_rows([*name, ALL], picks))
    return text.getvalue()


def _csv_rows(name: Sequence[str], picks: Picks) -> list[list[str]]:
    rows = []
    for (level, kind), row in success_rows(picks).items():
        one = row.success
        numbers = [f"{share:.6f}" if one.n else "" for share in (one.mean, one.low, one.high)]
        rows.append([*name, level, kind, str(picks[0].iteration), *numbers, str(one.n)])
    return rows

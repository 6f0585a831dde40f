"""The tables drawn: on a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from declutch.compare.runs import Comparison, Picks, picks_at, success_rows
from declutch.compare.tables import Sheet
from declutch.tables import make_table

CSV_COLUMNS = (
    *("method", "gcd", "seed", "level", "kind"),
    *("iteration", "mean", "low", "high", "n"),
)
ALL = "all"
WIDE = 120
"""Terminal columns that the widest table needs."""
STYLES = {"up": "green", "down": "red"}


def terminal_table(sheet: Sheet, width: int) -> Table:
    """The sheet for a terminal of `width` columns; on a narrow one intervals take a second line."""
    is_wide = width >= WIDE
    first, *columns = sheet.columns
    table = make_table(f"{sheet.title}\n{sheet.header}", first, padding=1 if is_wide else 0)
    for column in columns:
        heading = column if is_wide else column.replace(" ", "\n", 1)
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sheet.rows:
        texts = [cell.text if is_wide else _folded(cell.text) for cell in row]
        styles = [STYLES.get(cell.tone, "") for cell in row]
        table.add_row(*(Text(text, style=style) for text, style in zip(texts, styles, strict=True)))
    table.caption = "\n".join(sheet.notes) or None
    table.caption_justify = "left"
    return table


def markdown(sheets: Sequence[Sheet]) -> str:
    """All sheets as one Markdown text."""
    return "\n".join(_markdown_sheet(sheet) for sheet in sheets)


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


def _folded(text: str) -> str:
    for mark in ("[", "(", "− "):
        text = text.replace(f" {mark}", f"\n{mark}")
    return text


def _csv_rows(name: Sequence[str], picks: Picks) -> list[list[str]]:
    rows = []
    for (level, kind), row in success_rows(picks).items():
        one = row.success
        numbers = [f"{share:.6f}" if one.n else "" for share in (one.mean, one.low, one.high)]
        rows.append([*name, level, kind, str(picks[0].iteration), *numbers, str(one.n)])
    return rows


def _markdown_sheet(sheet: Sheet) -> str:
    lines = [f"### {sheet.title}", "", sheet.header, ""]
    lines.append(f"| {' | '.join(sheet.columns)} |")
    lines.append("|---|" + "---:|" * (len(sheet.columns) - 1))
    lines += [f"| {' | '.join(cell.text for cell in row)} |" for row in sheet.rows]
    lines += [line for note in sheet.notes for line in ("", note)]
    return "\n".join([*lines, ""])

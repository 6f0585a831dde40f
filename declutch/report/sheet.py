"""A table as data, and how it is drawn in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from declutch.report.tables import make_table

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


def _folded(text: str) -> str:
    for mark in ("[", "(", "− "):
        text = text.replace(f" {mark}", f"\n{mark}")
    return text


def _markdown_sheet(sheet: Sheet) -> str:
    lines = [f"### {sheet.title}", "", sheet.header, ""]
    lines.append(f"| {' | '.join(sheet.columns)} |")
    lines.append("|---|" + "---:|" * (len(sheet.columns) - 1))
    lines += [f"| {' | '.join(cell.text for cell in row)} |" for row in sheet.rows]
    lines += [line for note in sheet.notes for line in ("", note)]
    return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Cell:
    """Text, and whether it says that something rose or fell beyond chance."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table before it is drawn anywhere.

    Attributes:
        title: what it shows.
        header: protocol, temperature, steps, n.
        columns: headings; the first column names the row.
        rows: cells, as many as columns.
        notes: sentences below it.
        is_detail: too long for a terminal.
    """

    title: str
    header: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    is_detail: bool = False

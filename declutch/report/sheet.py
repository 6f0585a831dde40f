"""A table as data, before any of the four drawers draws it: columns, rows of cells, notes.

Everything that is shown as a table is a `Sheet`: commands print it, reports hold it, and files of
results are made of it. `report.cells` makes cells of numbers, `report.drawers` has the drawers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "up", "down", "warn", "dim", "accent"]
"""What a cell's colour says: it rose or fell beyond chance, warns, is minor, or is decoration."""

Role = Literal["plain", "main", "part", "heading"]
"""What a row is: a "main" row begins a group, "part" rows say what the row above consists of, and
a "heading" has one cell that names the rows below it."""


@dataclass(frozen=True)
class Column:
    """A column of a `Sheet`: what it is called, in which unit, and whether it holds words.

    Attributes:
        name: its heading, without the unit.
        unit: of its values, "" for none.
        is_words: words are aligned to the left and may be broken, numbers are neither.
    """

    name: str
    unit: str = ""
    is_words: bool = False

    @property
    def heading(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name


@dataclass(frozen=True)
class Cell:
    """A cell of a `Sheet`: the text that is read, and the whole number behind it.

    Attributes:
        text: what is shown; it may have several lines.
        value: the number in the column's unit, not rounded and NaN where there is none; None where
            the text is all there is.
        detail: what is shown after the text in small print: an interval, a share, a remedy.
        interval: ends of the value's interval, not rounded.
        tone: what its colour says.
        hint: more about it, for who points at it on a page.
    """

    text: str
    value: float | None = None
    detail: str = ""
    interval: tuple[float, float] | None = None
    tone: Tone = ""
    hint: str = ""


@dataclass(frozen=True)
class SheetRow:
    """A row of a `Sheet`: its cells, and how it belongs to the rows around it.

    Attributes:
        cells: as many as there are columns; one for a heading.
        role: what the row is.
        is_apart: it stands apart from the rows above, as "main" rows and headings always do.
        key: what a page's style knows the row by, "" for nothing.
    """

    cells: tuple[Cell, ...]
    role: Role = "plain"
    is_apart: bool = False
    key: str = ""

    @property
    def begins_group(self) -> bool:
        return self.is_apart or self.role in ("main", "heading")


@dataclass(frozen=True)
class Sheet:
    """A `Sheet` is a table before it is drawn on a terminal, as Markdown, as HTML or as CSV.

    Attributes:
        title: what it shows.
        columns: the first one names the rows.
        rows: from top to bottom.
        header: a line above it, for what all its numbers have in common.
        notes: sentences below it.
        is_detail: it is too long to be printed unasked.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[SheetRow, ...]
    header: str = ""
    notes: tuple[str, ...] = ()
    is_detail: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            expected = 1 if row.role == "heading" else len(self.columns)
            if len(row.cells) != expected:
                raise ValueError(f"a {row.role} row of {len(row.cells)} cells, not {expected}")


def words(name: str) -> Column:
    """A column of words of a `Sheet`, such as the one that names its rows."""
    return Column(name, is_words=True)

"""Tables drawn on a terminal: a table that fits itself to the width, and a small one without rules.

Where a table is too wide, its headings take several lines first, then columns move closer, then
intervals and other details stand on a second line and long names are broken. Where that is not
enough, the columns stand in several tables below each other, each with the names of the rows: a
number is broken only where not even one column has room beside the names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from declutch.report.sheet import Cell, Column, Sheet, SheetRow

STYLES = {"up": "green", "down": "red", "warn": "yellow", "dim": "dim", "accent": "cyan"}
INDENT = "  "
"""Before the name of a row that is part of the one above."""
NAME_WIDTH, SHORT_WIDTH, LEAST_WIDTH = 32, 16, 8
"""Characters of a name that are kept on one line as long as numbers can move, those that are kept
as long as columns can stand below each other, and those that are kept beside a single column."""


class _Layout(NamedTuple):
    has_folded_headings: bool
    padding: int
    has_folded_details: bool
    name_width: int
    has_broken_numbers: bool = False

    @property
    def separator(self) -> str:
        return "\n" if self.has_folded_details else " "


_LAYOUTS = (
    _Layout(False, 1, False, NAME_WIDTH),
    _Layout(True, 1, False, NAME_WIDTH),
    _Layout(True, 0, False, NAME_WIDTH),
    _Layout(True, 0, True, SHORT_WIDTH),
    _Layout(True, 0, True, LEAST_WIDTH, has_broken_numbers=True),
)
_WHOLE = _LAYOUTS[:-1]
"""Those that break no number."""


@dataclass(frozen=True)
class TerminalSheet:
    """What the terminal drawer makes of a table: rich prints it, laid out for the width there."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text in (self.sheet.title, self.sheet.header):
            if text:
                yield _text(text, "table.title")
        for number, part in enumerate(_parts(self.sheet, console, options)):
            if number:
                yield Text()
            yield part
        for note in self.sheet.notes:
            yield _text(note, "table.caption")


def _parts(sheet: Sheet, console: Console, options: ConsoleOptions) -> list[Table]:
    """The table, or several of some of its columns each where all of them have no room."""
    whole = _fit(sheet, _WHOLE, console, options)
    if whole is not None:
        return [whole]
    tables: list[Table] = []
    kept: list[int] = []
    for index in range(1, len(sheet.columns)):
        if kept and _fit(_select(sheet, [*kept, index]), _WHOLE, console, options) is None:
            tables.append(_fit_by_force(_select(sheet, kept), console, options))
            kept = []
        kept.append(index)
    return [*tables, _fit_by_force(_select(sheet, kept), console, options)]


def _select(sheet: Sheet, indices: Sequence[int]) -> Sheet:
    """The sheet with the names of its rows and some of its other columns."""
    kept = [0, *indices]
    rows = tuple(
        row
        if row.role == "heading"
        else replace(row, cells=tuple(row.cells[index] for index in kept))
        for row in sheet.rows
    )
    return replace(sheet, columns=tuple(sheet.columns[index] for index in kept), rows=rows)


def _fit(
    sheet: Sheet, layouts: Sequence[_Layout], console: Console, options: ConsoleOptions
) -> Table | None:
    """The table by the first layout for which there is room; None where there is none."""
    for layout in layouts:
        table = _table(sheet, layout)
        width = Measurement.get(console, options.update(width=10_000), table).maximum
        if width - _spare(sheet, layout.name_width) <= options.max_width:
            return _narrowed(sheet, table, layout, width, options)
    return None


def _fit_by_force(sheet: Sheet, console: Console, options: ConsoleOptions) -> Table:
    """The table by the last layout, whether or not there is room."""
    found = _fit(sheet, _LAYOUTS, console, options)
    if found is not None:
        return found
    table = _table(sheet, _LAYOUTS[-1])
    width = Measurement.get(console, options.update(width=10_000), table).maximum
    return _narrowed(sheet, table, _LAYOUTS[-1], width, options)


def _narrowed(
    sheet: Sheet, table: Table, layout: _Layout, width: int, options: ConsoleOptions
) -> Table:
    """The table with its names broken, if it is wider than there is room."""
    if width <= options.max_width or sum(c.is_words for c in sheet.columns) > 1:
        return table
    left = options.max_width - width + _longest(sheet, 0)
    return _table(sheet, layout, max(left, LEAST_WIDTH))


def draw_terminal(sheet: Sheet) -> TerminalSheet:
    """Drawer for terminals: draw a table to be given to rich's `Console.print`."""
    return TerminalSheet(sheet)


def draw_compact(sheet: Sheet) -> Table:
    """Drawer for terminals of small tables without title, rules and folding, as in a live view."""
    table = Table.grid(padding=(0, 1))
    for index, column in enumerate(sheet.columns):
        table.add_column(
            justify="left" if column.is_words else "right",
            style="" if index else "dim",
            no_wrap=True,
        )
    first, *others = (column.heading for column in sheet.columns)
    table.add_row(_text(first, "bold not dim"), *(_text(heading, "dim") for heading in others))
    for row in sheet.rows:
        table.add_row(*(_content(cell) for cell in row.cells))
    return table


def _table(sheet: Sheet, layout: _Layout, name_width: int | None = None) -> Table:
    table = Table(
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, layout.padding),
    )
    # Beside other words, which can be broken anywhere, the words of a row's name stay whole.
    has_other_words = any(column.is_words for column in sheet.columns[1:])
    for index, column in enumerate(sheet.columns):
        heading = column.heading
        cells = [row.cells[index] for row in sheet.rows if row.role != "heading"]
        if layout.has_folded_headings and not column.is_words:
            heading = _folded_heading(column, _widest(cells, layout))
        table.add_column(
            _text(heading),
            justify="left" if column.is_words else "right",
            no_wrap=not (column.is_words or layout.has_broken_numbers),
            overflow="fold",
            min_width=_longest_word(cells) if index == 0 and has_other_words else None,
        )
    for number, row in enumerate(sheet.rows):
        if number and row.begins_group:
            table.add_section()
        style = "bold" if row.role in ("main", "heading") else ""
        table.add_row(*_contents(row, sheet.columns, layout, name_width), style=style)
    return table


def _contents(
    row: SheetRow, columns: Sequence[Column], layout: _Layout, name_width: int | None
) -> list[Text]:
    found = []
    for column, cell in zip(columns, row.cells, strict=False):
        if column.is_words:
            found.append(_content(cell, "\n", "dim"))
        else:
            found.append(_content(cell, layout.separator))
    indent = INDENT if row.role == "part" else ""
    if indent or name_width is not None:
        name = found[0].plain
        lines = name.split("\n") if name_width is None else _fold(name, name_width - len(indent))
        found[0] = _text("\n".join(f"{indent}{line}" for line in lines))
    return found


def _content(cell: Cell, separator: str = " ", detail_style: str = "") -> Text:
    style = STYLES.get(cell.tone, "")
    text = _text(cell.text, style)
    if cell.detail:
        text.append(separator)
        text.append_text(_text(cell.detail, style or detail_style))
    return text


def _text(text: str, style: str = "") -> Text:
    """Text as it is, but that nothing in it is a command to the terminal."""
    signs = text.replace("\t", " ")
    plain = "".join("\N{REPLACEMENT CHARACTER}" if _is_control(sign) else sign for sign in signs)
    return Text(plain, style=style)


def _is_control(sign: str) -> bool:
    return sign != "\n" and unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")


def _folded_heading(column: Column, width: int) -> str:
    """The heading on as many lines as keep it from being wider than its longest word or `width`."""
    width = max([width, _width(column.unit), *map(_width, column.name.split())])
    *lines, last = _fold(column.name, width)
    if column.unit and _width(f"{last}, {column.unit}") <= width:
        return "\n".join([*lines, f"{last}, {column.unit}"])
    return "\n".join([*lines, last, *([column.unit] if column.unit else [])])


def _fold(text: str, width: int) -> list[str]:
    """Lines of at most `width`, as far as they can be broken at spaces and within names."""
    lines = []
    for line in text.split("\n"):
        lines.append("")
        for piece in re.findall(r"[^\s_/-]*[\s_/-]+|[^\s_/-]+", line):
            if lines[-1] and _width(lines[-1] + piece.rstrip()) > width:
                lines[-1] = lines[-1].rstrip()
                lines.append("")
            lines[-1] += piece
    return lines


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _widest(cells: Sequence[Cell], layout: _Layout) -> int:
    return max((_width(_content(cell, layout.separator).plain) for cell in cells), default=0)


def _longest_word(cells: Sequence[Cell]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.text.split()), default=0)


def _longest(sheet: Sheet, index: int) -> int:
    """Width of a column of words that are not broken."""
    cells = [
        _width(cell.text) + (len(INDENT) if row.role == "part" and index == 0 else 0)
        for row in sheet.rows
        for cell in row.cells[index : index + 1]
    ]
    return max([_width(sheet.columns[index].heading), *cells])


def _spare(sheet: Sheet, width: int) -> int:
    """How much narrower the table becomes if every column of words is no wider than `width`."""
    indices = [index for index, column in enumerate(sheet.columns) if column.is_words]
    return sum(max(0, _longest(sheet, index) - width) for index in indices)

"""Tables drawn as CSV: one line a row, numbers in full, nothing but the data."""

from __future__ import annotations

import csv
import io
import math

from declutch.report.sheet import Cell, Sheet

GROUP = "group"
"""Heading of the column that says which heading or main row a row is below."""


def draw_csv(sheet: Sheet) -> str:
    """Drawer for CSV: draw a table as the text of a CSV file, its numbers not rounded.

    A column with intervals is three: the value, "NAME low" and "NAME high". Headings are no lines
    of their own: where there are any, or parts of rows, a first column names what a row is below.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    has_groups = any(row.role in ("heading", "part") for row in sheet.rows)
    whole = [row for row in sheet.rows if row.role != "heading"]
    has_interval = [
        any(row.cells[index].interval is not None for row in whole)
        for index in range(len(sheet.columns))
    ]
    headings = [GROUP] if has_groups else []
    for column, is_wide in zip(sheet.columns, has_interval, strict=True):
        ends = [f"{column.heading} low", f"{column.heading} high"] if is_wide else []
        headings += [column.heading, *ends]
    writer.writerow(headings)
    heading = main = ""
    for row in sheet.rows:
        if row.role == "heading":
            heading, main = _text(row.cells[0]), ""
            continue
        above = (heading, main if row.role == "part" else "")
        fields = [" / ".join(part for part in above if part)] if has_groups else []
        for cell, is_wide in zip(row.cells, has_interval, strict=True):
            fields += _fields(cell, is_wide)
        writer.writerow(fields)
        if row.role != "part":
            main = _text(row.cells[0])
    return text.getvalue()


def _fields(cell: Cell, is_wide: bool) -> list[str]:
    value = _text(cell) if cell.value is None else _number(cell.value)
    if not is_wide:
        return [value]
    low, high = cell.interval or (math.nan, math.nan)
    return [value, _number(low), _number(high)]


def _text(cell: Cell) -> str:
    return f"{cell.text} {cell.detail}" if cell.detail else cell.text


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)

"""Tables drawn as Markdown; whatever Markdown would take for markup in a text is escaped."""

from __future__ import annotations

import re

from declutch.report.sheet import Cell, Sheet, SheetRow

_INDENT = "&nbsp;&nbsp;"
# An underscore inside of a word is no markup.
_MARKUP = re.compile(r"[\\`*~|#]|(?<![^\W_])_|_(?![^\W_])")
_LINK = re.compile(r"\]\s*[(\[:]")
_START = re.compile(r"[-+=]|\d+(?=[.)])")


def draw_markdown(sheet: Sheet) -> str:
    """Drawer for Markdown: draw a table as a section, its title a heading of the third level."""
    title, header = _escape(sheet.title), _paragraph(sheet.header)
    lines = [f"### {title}", ""] if title else []
    lines += [header, ""] if header else []
    lines.append(_line([_escape(column.heading) for column in sheet.columns]))
    lines.append("|" + "".join("---|" if c.is_words else "---:|" for c in sheet.columns))
    lines += [_row(row, len(sheet.columns)) for row in sheet.rows]
    lines += [line for note in sheet.notes for line in ("", _paragraph(note))]
    return "\n".join([*lines, ""])


def _row(row: SheetRow, num_columns: int) -> str:
    first, *others = (_content(cell) for cell in row.cells)
    if row.role in ("main", "heading") and first:
        first = f"**{first}**"
    elif row.role == "part":
        first = _INDENT + first
    return _line([first, *others, *[""] * (num_columns - len(row.cells))])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _content(cell: Cell) -> str:
    return _escape(f"{cell.text} {cell.detail}" if cell.detail else cell.text)


def _escape(text: str) -> str:
    text = text.strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKUP.sub(r"\\\g<0>", text)
    if _LINK.search(text):
        text = text.replace("[", "\\[")
    return text.replace("\n", "<br>")


def _paragraph(text: str) -> str:
    """Text on a line of its own, which is no list and no rule whatever it begins with."""
    escaped = _escape(text)
    start = _START.match(escaped)
    if start is None:
        return escaped
    number = start[0] if start[0].isdigit() else ""
    return f"{number}\\{escaped[len(number) :]}"

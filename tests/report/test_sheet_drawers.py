"""The four drawers agree: the rows and cells of a sheet, read back from each of its drawings."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

import declutch
from declutch.evaluation.intervals import Estimate
from declutch.report.cells import count_cell, difference_cell, estimate_cell, percent_cell
from declutch.report.drawers.csv import GROUP, draw_csv
from declutch.report.drawers.html import draw_html
from declutch.report.drawers.markdown import draw_markdown
from declutch.report.drawers.terminal import draw_compact, draw_terminal
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words

Table = list[list[str]]

NASTY = (
    *("[bold]x[/]", "[/]", "a|b", 'say "no", or not', "<b>&amp;</b>", "two\nlines", "*a* _b_ `c`"),
    *(
        "[link](to)",
        "[a [b] c](d)",
        "![i](j)",
        "~~gone~~",
        "a_b",
        "__init__",
        "\\",
        "\\|",
        "-1",
        "#",
    ),
    *("=1+2", "a\tb", "1. first", "[x]: y", "日本", "<!-- -->", "</td></tr>", "'", "% _", "\\\\|*"),
)
texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.sampled_from("ab_*[]()|\\`<>&\"',~-#! \n"), max_size=12),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), max_size=8),
)


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    columns = draw(st.lists(st.builds(Column, texts, texts, st.booleans()), min_size=1, max_size=3))
    cells = st.builds(Cell, texts, detail=texts)
    rows = []
    for role in draw(st.lists(st.sampled_from(("plain", "main", "part", "heading")), max_size=4)):
        count = 1 if role == "heading" else len(columns)
        row = draw(st.tuples(*[cells] * count))
        rows.append(SheetRow(row, role, is_apart=draw(st.booleans())))
    notes = draw(st.lists(texts, max_size=2))
    return Sheet(draw(texts), tuple(columns), tuple(rows), draw(texts), tuple(notes))


def whole(cell: Cell) -> str:
    return f"{cell.text} {cell.detail}" if cell.detail else cell.text


def cells_of(sheet: Sheet) -> Table:
    """What every drawing must hold: the headings, and each row's cells."""
    rows = [[whole(cell) for cell in row.cells] for row in sheet.rows]
    return [[column.heading for column in sheet.columns], *rows]


def squeezed(table: Table) -> Table:
    """The cells without differences of white space that a format does not keep."""
    return [[" ".join(cell.split()) for cell in row] for row in table]


class PageTable(HTMLParser):
    """Rows and cells of a page's table, and the plain paragraphs around it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: Table = []
        self.texts: list[str] = []
        self.tags: Counter[str] = Counter()
        self._target: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self._target = self.rows[-1]
            self._target.append("")
        elif tag in ("p", "h3"):
            self._target = self.texts
            self._target.append("")
        elif tag == "br":
            self._target[-1] += "\n"

    def handle_data(self, data: str) -> None:
        self._target[-1] += data


def text_of(token: Token) -> str:
    parts = []
    for child in token.children or []:
        if child.type in ("text", "text_special"):
            parts.append(child.content)
        elif child.type == "html_inline" and child.content == "<br>":
            parts.append("\n")
        else:
            assert child.type in ("strong_open", "strong_close"), child
    return "".join(parts)


def read_markdown(text: str) -> tuple[Table, list[str]]:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rows: Table = []
    others = []
    kind = ""
    for token in parser.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and kind in ("th_open", "td_open"):
            rows[-1].append(text_of(token))
        elif token.type == "inline":
            assert kind in ("paragraph_open", "heading_open")
            others.append(text_of(token))
        kind = token.type
    return rows, others


@given(sheets())
def test_a_page_holds_every_cell_as_it_is(sheet: Sheet) -> None:
    page = PageTable(draw_html(sheet))
    assert page.rows == cells_of(sheet)
    assert page.texts == [text for text in (sheet.title, sheet.header) if text] + [*sheet.notes]
    assert set(page.tags) <= {
        *("h3", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "small", "br", "wbr")
    }


@given(sheets())
def test_markdown_reads_back_as_every_cell(sheet: Sheet) -> None:
    rows, others = read_markdown(draw_markdown(sheet))
    width = len(sheet.columns)
    expected = [row + [""] * (width - len(row)) for row in cells_of(sheet)]
    assert squeezed(rows) == squeezed(expected)
    around = [text for text in (sheet.title, sheet.header, *sheet.notes) if text.strip()]
    assert squeezed([others]) == squeezed([around])


@given(sheets())
def test_csv_reads_back_as_every_cell(sheet: Sheet) -> None:
    headings, *rows = csv.reader(io.StringIO(draw_csv(sheet), newline=""))
    expected = [column.heading for column in sheet.columns]
    kept = [row for row in sheet.rows if row.role != "heading"]
    has_groups = any(row.role in ("part", "heading") for row in sheet.rows)
    assert headings == [GROUP] * has_groups + expected
    assert [row[has_groups:] for row in rows] == [[whole(c) for c in row.cells] for row in kept]


@given(sheets())
def test_a_terminal_shows_every_cell(sheet: Sheet) -> None:
    console = Console(file=io.StringIO(), width=5000)
    console.print(draw_terminal(sheet))
    found = Counter(console.file.getvalue().replace("─", "").split())
    table = [word for row in cells_of(sheet) for cell in row for word in cell.split()]
    around = [word for text in (sheet.title, sheet.header, *sheet.notes) for word in text.split()]
    assert found == Counter(word for word in (*table, *around) if word.strip("─"))


@given(sheets(), st.integers(20, 60))
def test_a_narrow_terminal_loses_no_letter_of_names(sheet: Sheet, width: int) -> None:
    columns = (words("name"), *sheet.columns[1:])
    sheet = Sheet("", columns[:1], tuple(SheetRow(row.cells[:1]) for row in sheet.rows))
    console = Console(file=io.StringIO(), width=width)
    console.print(draw_terminal(sheet))
    lines = console.file.getvalue().replace("─", "").splitlines()
    expected = "".join(whole(row.cells[0]) for row in sheet.rows).replace("─", "")
    assert "".join("".join(lines[1:]).split()) == "".join(expected.split())
    assert all(len(line) <= width for line in lines)


def test_nothing_in_a_text_commands_the_terminal() -> None:
    sheet = Sheet("\x1b[31mt", (words("\x07"),), (SheetRow((Cell("\x1b]0;title\x9c\r"),)),))
    for drawing in (draw_terminal(sheet), draw_compact(sheet)):
        console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
        console.print(drawing)
        assert not {s for s in console.file.getvalue() if unicodedata.category(s) == "Cc"} - {"\n"}


SHEET = Sheet(
    title="Success",
    header="temperature 0.4",
    columns=(words("level"), Column("n"), Column("success", "%"), Column("difference", "points")),
    rows=(
        SheetRow(
            (
                Cell("L0"),
                count_cell(3),
                estimate_cell(Estimate(1 / 3, 0.1, 0.7, 3)),
                difference_cell(Estimate(0.25, 0.125, 0.5, 3)),
            ),
            "main",
        ),
        SheetRow(
            (
                Cell("heat"),
                count_cell(0),
                estimate_cell(Estimate(math.nan, math.nan, math.nan, 0)),
                difference_cell(Estimate(math.nan, math.nan, math.nan, 0)),
            ),
            "part",
        ),
    ),
    notes=("One game is missing.",),
)


def test_numbers_are_rounded_to_read_and_whole_as_data() -> None:
    (heading, *rows) = csv.reader(io.StringIO(draw_csv(SHEET)))
    assert heading == [
        *("group", "level", "n", "success, %", "success, % low", "success, % high"),
        *("difference, points", "difference, points low", "difference, points high"),
    ]
    assert rows[0] == ["", "L0", "3", repr(100 * (1 / 3)), "10.0", "70.0", "25.0", "12.5", "50.0"]
    assert rows[1] == ["L0", "heat", "0", *[""] * 6]
    assert "| **L0** | 3 | 33.3 [10.0, 70.0] | +25.0 [+12.5, +50.0] |" in draw_markdown(SHEET)
    page = draw_html(SHEET)
    hint = "95% interval over games of this run"
    assert f'<td class="num" title="{hint}">33.3 <small>[10.0, 70.0]</small></td>' in page
    hint += "; 3 games played by both"
    assert f'<td class="num up" title="{hint}">+25.0 <small>[+12.5, +50.0]</small></td>' in page
    assert page.index("temperature 0.4") < page.index("<table>") < page.index("is missing")


def drawn(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(draw_terminal(SHEET))
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("width", [120, 56, 48, 45, 40])
def test_a_table_fits_the_terminal_by_folding_what_can_be(width: int) -> None:
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    assert lines[0] == "Success"
    assert "…" not in "".join(lines)
    is_folded = width < 48
    assert any(line.split() == ["L0", "3", "33.3", "+25.0"] for line in lines) == is_folded
    assert "  heat" in "\n".join(lines)


def test_rows_of_another_length_are_no_sheet() -> None:
    with pytest.raises(ValueError, match="a plain row of 2 cells, not 1"):
        Sheet("", (words("a"),), (SheetRow((Cell("x"), Cell("y"))),))
    with pytest.raises(ValueError, match="a heading row of 2 cells, not 1"):
        Sheet("", (words("a"), words("b")), (SheetRow((Cell("x"), Cell("y")), "heading"),))


def test_shares_without_a_number_are_dashes() -> None:
    assert percent_cell(math.nan).text == "–"
    assert percent_cell(0.57).value == pytest.approx(57)


def test_no_digit_is_lost_where_nothing_fits() -> None:
    text = " ".join(drawn(28))
    for part in ("33.3", "[10.0,", "70.0]", "+25.0", "+50.0]"):
        assert part in text


@pytest.mark.parametrize("width", [60, 48, 40, 30])
def test_no_name_is_lost_and_no_number_is_halved(width: int) -> None:
    """Columns without room stand below, beside the names again."""
    names = ("look at obj in light", "pick two obj and place", "mean")
    numbers = [[f"{100 * row + column}.{column}" for column in range(9)] for row in range(3)]
    sheet = Sheet(
        "wide",
        (words("task type"), *(Column(f"success {number}", "%") for number in range(9))),
        tuple(
            SheetRow((Cell(name), *map(Cell, row)))
            for name, row in zip(names, numbers, strict=True)
        ),
    )
    console = Console(file=io.StringIO(), width=width)
    console.print(draw_terminal(sheet))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    found = text.split()
    for row in numbers:
        for number in row:
            assert found.count(number) == 1
    # Every table that the columns are spread over begins with the names.
    num_tables = sum(set(line) == {"─"} for line in text.splitlines())
    assert sum(line.startswith("mean") for line in text.splitlines()) == num_tables > 1
    if width >= 48:
        assert all(name in text for name in names)


def test_a_blank_title_is_no_heading() -> None:
    assert draw_markdown(Sheet(" ", (words("a"), Column("b")), ())) == "| a | b |\n|---|---:|\n"


def test_nobody_else_draws_tables() -> None:
    """Rich's tables, table elements and CSV writers are the drawers' alone."""
    root = Path(declutch.__file__).parent
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        # The help of commands, and the data behind a figure, are no tables of results.
        if path.parent.name != "drawers" and path.name not in ("help.py", "figures.py"):
            for mark in ("rich.table", "<table", "<td", "csv.writer", "|---"):
                assert mark not in text, f"{path.relative_to(root)} draws a table: {mark}"

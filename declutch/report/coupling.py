"""The report's section on coupling: gradient cosines of the policy over training, in one table."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.report.cells import count_cell, number_cell
from declutch.report.drawers.html import draw_html
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.runs.coupling import PAIRS, CouplingRecord

LOW_RELIABILITY = 0.5
"""Below this split-half reliability a cosine is mostly noise."""


def coupling_section(records: Sequence[CouplingRecord]) -> str:
    """The report's section on coupling, the table of cosines over training; "" for none."""
    if not records:
        return ""
    return (
        '<section id="coupling"><h2>Coupling of gradients</h2>'
        '<p class="lead">Cosines between mean gradients of good and bad steps that the policy '
        "played. The first letter is the class of the in-domain steps, p for good and n for bad, "
        "the second that of the out-of-domain ones.</p>"
        f"{draw_html(coupling_sheet(records))}</section>"
    )


def coupling_sheet(records: Sequence[CouplingRecord]) -> Sheet:
    """Table of the report's coupling section: a row for each iteration that was measured."""
    return Sheet(
        title="",
        columns=(
            words("iteration"),
            *(Column(pair) for pair in PAIRS),
            *(Column(f"{pair} without noise") for pair in PAIRS),
            Column("within less across classes"),
            Column("p"),
            Column("lowest split-half"),
            Column("n"),
        ),
        rows=tuple(_row(record) for record in records),
        notes=(
            "n is the number of steps in each of the four populations; cosines of means grow with "
            "it. Within less across is half of pp + nn - pn - np, and p says how often shuffled "
            "labels reach it. Where the split-half reliability is below 0.5, the cosines are "
            "mostly noise.",
        ),
    )


def _row(record: CouplingRecord) -> SheetRow:
    lowest = number_cell(record.reliability, 2)
    is_noise = not record.reliability >= LOW_RELIABILITY
    p_value = float("nan") if record.p_value is None else record.p_value
    return SheetRow(
        (
            Cell(str(record.iteration), record.iteration),
            *(
                Cell(
                    number_cell(record.cosine.of(pair), 3).text,
                    record.cosine.of(pair),
                    interval=record.interval.of(pair),
                )
                for pair in PAIRS
            ),
            *(number_cell(record.corrected.of(pair), 3) for pair in PAIRS),
            number_cell(record.contrast, 3),
            number_cell(p_value, 3),
            Cell(lowest.text, record.reliability, tone="warn" if is_noise else ""),
            count_cell(record.n),
        )
    )

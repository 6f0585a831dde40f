"""GC Table 1: gradient cosines of several models and environments, side by side in one table.

Each row is a folder that holds a measurement: a run, whose last one is taken, or what
`declutch coupling gradients --out` wrote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from declutch.coupling.figure_data import FigureData, Series
from declutch.ground.contents import parse_json, read_text
from declutch.ground.errors import UserError
from declutch.report.cells import count_cell, number_cell
from declutch.report.coupling import LOW_RELIABILITY
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.runs.coupling import CouplingRecord, parse_coupling
from declutch.runs.folder import RunFolder
from declutch.runs.read import read_run

ORDER = ("pp", "nn", "np", "pn")
"""As GC prints its columns."""
MEASUREMENT = "gradients.json"


def table_of_cosines(folders: Sequence[Path]) -> tuple[list[Sheet], list[FigureData]]:
    """Make GC Table 1 of measured gradient cosines, a row and a group of bars for each folder.

    Args:
        folders: runs whose coupling was measured, or results of `declutch coupling gradients`.
    Raises:
        UserError: a folder without a measurement, or one that cannot be read.
    Source: GC Table 1.
    """
    measured = [(folder.name, read_measurement(folder)) for folder in folders]
    rows = [_row(name, record) for name, record in measured]
    sheet = Sheet(
        title="Cosines of mean gradients by environment",
        columns=(
            words("measured"),
            *(Column(pair) for pair in ORDER),
            *(Column(f"{pair} without noise") for pair in ORDER),
            Column("within less across classes"),
            Column("p"),
            Column("lowest split-half"),
            Column("n"),
        ),
        rows=tuple(rows),
        notes=(
            "The first letter is the class of the in-domain samples, p for good and n for bad, the "
            "second that of the out-of-domain ones. n is the number of samples in each of the four "
            "populations; cosines of means grow with it, so that only rows of equal n compare. "
            "Within less across is half of pp + nn - pn - np, and p says how often shuffled labels "
            "reach it. Where the split-half reliability is below 0.5, cosines are mostly noise.",
        ),
    )
    place = tuple(range(len(ORDER)))
    counts = sorted({record.n for _, record in measured})
    figure = FigureData(
        name="cosines_by_environment",
        kind="bars",
        title="Cosines of mean gradients by environment",
        caption=f"n = {' to '.join(map(str, counts))} samples in each population. Whiskers: 95% "
        "over resampled episodes.",
        x_label="class of the in-domain and of the out-of-domain samples",
        y_label="cosine",
        x_ticks=ORDER,
        series=tuple(
            Series(
                name,
                place,
                [record.cosine.of(pair) for pair in ORDER],
                [_end(record, pair, 0) for pair in ORDER],
                [_end(record, pair, 1) for pair in ORDER],
            )
            for name, record in measured
        ),
    )
    return [sheet], [figure]


def read_measurement(folder: Path) -> CouplingRecord:
    """Read the gradient cosines of a table's row: a folder of results, or a run's last ones.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    path = folder / MEASUREMENT
    if path.is_file():
        try:
            return parse_coupling(parse_json(read_text(path)))
        except ValueError as error:
            raise UserError(f"{path} cannot be read: {error}") from None
    records = read_run(RunFolder(folder)).coupling
    if not records:
        raise UserError(
            f"{folder} holds no gradient cosines; `declutch coupling gradients MODEL --out FOLDER` "
            "measures them, or `declutch coupling gradients RUN`"
        )
    return records[-1]


def _end(record: CouplingRecord, pair: str, which: int) -> float:
    ends = record.interval.of(pair)
    return math.nan if ends is None else ends[which]


def _row(name: str, record: CouplingRecord) -> SheetRow:
    cosines = []
    for pair in ORDER:
        ends = record.interval.of(pair)
        detail = "" if ends is None else f"[{ends[0]:.2f}, {ends[1]:.2f}]"
        value = record.cosine.of(pair)
        cosines.append(Cell(number_cell(value, 3).text, value, detail, interval=ends))
    p_value = math.nan if record.p_value is None else record.p_value
    is_noise = not record.reliability >= LOW_RELIABILITY
    return SheetRow(
        (
            Cell(name),
            *cosines,
            *(number_cell(record.corrected.of(pair), 3) for pair in ORDER),
            number_cell(record.contrast, 3),
            number_cell(p_value, 3),
            Cell(
                number_cell(record.reliability, 2).text,
                record.reliability,
                tone="warn" if is_noise else "",
            ),
            count_cell(record.n),
        )
    )

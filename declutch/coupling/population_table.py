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
from declutch.report.coupling import COSINE_NOTE, cosine_cells, cosine_columns
from declutch.report.sheet import Cell, Sheet, SheetRow, words
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
    sheet = Sheet(
        title="Cosines of mean gradients by environment",
        columns=(words("measured"), *cosine_columns(ORDER)),
        rows=tuple(
            SheetRow((Cell(name), *cosine_cells(record, ORDER))) for name, record in measured
        ),
        notes=(
            "The first letter is the class of the in-domain samples, p for good and n for bad, the "
            f"second that of the out-of-domain ones. {COSINE_NOTE}",
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

"""A figure of coupling as data, before `coupling.figures` draws it: arrays, axes, title, caption.

Every diagnostic returns its figures in this form, so that one drawer makes PNG, SVG, PDF and the
interactive form of all of them, and writes the numbers behind each as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["heatmap", "lines", "bars", "points", "tokens"]
"""A matrix of cells; curves; a bar for each tick of x; single points; text whose tokens have
scores."""


@dataclass(frozen=True)
class Series:
    """A named series of a coupling figure's data: points (x, y), with ends of intervals or none.

    Attributes:
        label: its entry in the legend, "" for none.
        x, y: equally many; with bars, x is the place of a tick, 0 the first. NaN is a gap.
        low, high: ends of each point's interval, or () where there are none.
        style: "" for a solid line, "dashed" for a reference such as a null or a bound.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    style: Literal["", "dashed"] = ""


@dataclass(frozen=True)
class TokenLine:
    """A text in a coupling figure's data whose tokens carry scores, which add up to `total`.

    Attributes:
        label: what the text is, such as the action and the sample's number.
        tokens: texts of the T tokens, in order.
        scores: T numbers in the figure's value unit.
        total: their sum, as it is printed.
    """

    label: str
    tokens: Sequence[str]
    scores: Sequence[float]
    total: float


@dataclass(frozen=True)
class FigureData:
    """The data of a coupling figure, whatever draws it: what its kind needs, and all of its words.

    Attributes:
        name: stem of its files, such as "gradients_cosines".
        kind: which of the fields below hold its data.
        title: what it shows.
        caption: what has to be known to read it: n, choices made, what a value means.
        command: the command that makes it, "" where none does.
        x_label, y_label: of the axes, with units.
        value_label: of the colour bar of a heat map, or of a token's score, with units.
        x_ticks, y_ticks: texts of columns and rows of a heat map; x_ticks those of bars.
        values: heat map: rows of cells from top to bottom, NaN where there is none.
        series: lines, points and bars.
        lines: tokens.
        is_diverging: colours are centred at 0, blue below and red above.
        x_log, y_log: the axis is logarithmic.
        marks: vertical lines (x, text), such as a threshold.
    """

    name: str
    kind: Kind
    title: str
    caption: str = ""
    command: str = ""
    x_label: str = ""
    y_label: str = ""
    value_label: str = ""
    x_ticks: Sequence[str] = ()
    y_ticks: Sequence[str] = ()
    values: Sequence[Sequence[float]] = ()
    series: Sequence[Series] = ()
    lines: Sequence[TokenLine] = ()
    is_diverging: bool = False
    x_log: bool = False
    y_log: bool = False
    marks: Sequence[tuple[float, str]] = ()

    def __post_init__(self) -> None:
        for row in self.values:
            if len(row) != len(self.x_ticks):
                raise ValueError(f"{self.name}: a row of {len(row)} cells, not {len(self.x_ticks)}")
        if len(self.values) != (len(self.y_ticks) if self.kind == "heatmap" else 0):
            raise ValueError(f"{self.name}: {len(self.values)} rows, not {len(self.y_ticks)}")
        for series in self.series:
            lengths = {
                len(series.x),
                len(series.y),
                *map(len, filter(len, (series.low, series.high))),
            }
            if len(lengths) > 1:
                raise ValueError(f"{self.name}: {series.label!r} has unequal columns")
        for line in self.lines:
            if len(line.tokens) != len(line.scores):
                raise ValueError(f"{self.name}: {line.label!r} has other tokens than scores")

"""Figures as data are refused where their parts do not fit together."""

import pytest

from declutch.coupling.figure_data import FigureData, Series, TokenLine


def test_rows_of_a_heat_map_fit_its_ticks() -> None:
    FigureData("a", "heatmap", "A", x_ticks=("p", "q"), y_ticks=("p",), values=((1.0, 2.0),))
    with pytest.raises(ValueError, match="a row of 1 cells, not 2"):
        FigureData("a", "heatmap", "A", x_ticks=("p", "q"), y_ticks=("p",), values=((1.0,),))
    with pytest.raises(ValueError, match="1 rows, not 2"):
        FigureData("a", "heatmap", "A", x_ticks=("p",), y_ticks=("p", "q"), values=((1.0,),))


def test_columns_of_a_series_are_equally_long() -> None:
    FigureData("a", "lines", "A", series=(Series("s", (0, 1), (2, 3), (1, 2), (3, 4)),))
    with pytest.raises(ValueError, match="'s' has unequal columns"):
        FigureData("a", "lines", "A", series=(Series("s", (0, 1), (2, 3), (1,), (3, 4)),))


def test_every_token_has_a_score() -> None:
    with pytest.raises(ValueError, match="other tokens than scores"):
        FigureData("a", "tokens", "A", lines=(TokenLine("t", ("x", "y"), (1.0,), 1.0),))

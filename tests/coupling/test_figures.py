"""Figures of coupling are written in every format, with their data, caption and command."""

import csv
import math

import pytest

from declutch.coupling.figure_data import FigureData, Series, TokenLine
from declutch.coupling.figures import draw_figure, figure_csv, write_figures

HEAT = FigureData(
    "influence",
    "heatmap",
    "Influence",
    caption="n = 4",
    command="declutch coupling influence M",
    x_label="measured",
    y_label="learned",
    value_label="change",
    x_ticks=("go to desk 1", "go to $x$"),
    y_ticks=("open drawer 1", "take mug 1, 2"),
    values=((1.0, -0.25), (math.nan, 0.5)),
    is_diverging=True,
)
LINES = FigureData(
    "paths",
    "lines",
    "Paths",
    x_label="t",
    y_label="q",
    series=(
        Series("a", (0, 1), (0.1, 0.2), low=(0.0, 0.1), high=(0.2, 0.3)),
        Series("b", (0.5,), (math.nan,), style="dashed"),
    ),
    marks=((0.5, "here"),),
)
BARS = FigureData(
    "bars",
    "bars",
    "Bars",
    x_label="pair",
    x_ticks=("pp", "nn"),
    series=(Series("a", (0, 1), (1, 2)),),
)
POINTS = FigureData("points", "points", "Points", series=(Series("", (1, 10), (1, 2)),), x_log=True)
TOKENS = FigureData(
    "tokens",
    "tokens",
    "Tokens",
    value_label="score",
    lines=(TokenLine("A", ("go", " $to$", "\n"), (1.0, -2.0, 0.5), -0.5),),
)


def test_every_kind_is_written_in_every_format(tmp_path):
    figures = [HEAT, LINES, BARS, POINTS, TOKENS]
    written = write_figures(tmp_path / "new", figures)
    names = {f"{data.name}.{end}" for data in figures for end in ("png", "svg", "pdf", "csv")}
    assert {path.name for path in written} == names
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for path in written:
        assert path.read_bytes().startswith(starts.get(path.suffix[1:], b""))


def test_caption_command_and_texts_are_in_the_file(tmp_path):
    write_figures(tmp_path, [HEAT])
    text = (tmp_path / "influence.svg").read_text(encoding="utf-8")
    for part in (
        "n = 4",
        "$ declutch coupling influence M",
        "go to $x$",
        "take mug 1, 2",
        "change",
    ):
        assert part in text


def test_the_same_data_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        write_figures(tmp_path / folder, [LINES])
    for end in ("png", "svg", "pdf"):
        first, second = ((tmp_path / f / f"paths.{end}").read_bytes() for f in ("a", "b"))
        assert first == second


def test_colours_are_centred_at_zero():
    image = draw_figure(HEAT).axes[0].images[0]
    assert image.get_clim() == (-1.0, 1.0)
    assert draw_figure(HEAT).axes[1].get_ylabel() == "change"


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (
            HEAT,
            [
                ["learned", "go to desk 1", "go to $x$"],
                ["open drawer 1", "1.0", "-0.25"],
                ["take mug 1, 2", "", "0.5"],
            ],
        ),
        (
            LINES,
            [
                ["series", "t", "q", "low", "high"],
                ["a", "0.0", "0.1", "0.0", "0.2"],
                ["a", "1.0", "0.2", "0.1", "0.3"],
                ["b", "0.5", "", "", ""],
            ],
        ),
        (BARS, [["series", "pair", "y"], ["a", "pp", "1.0"], ["a", "nn", "2.0"]]),
        (
            TOKENS,
            [
                ["text", "position", "token", "score"],
                ["A", "0", "go", "1.0"],
                ["A", "1", " $to$", "-2.0"],
                ["A", "2", "\n", "0.5"],
                ["A", "total", "", "-0.5"],
            ],
        ),
    ],
    ids=lambda value: value.name if isinstance(value, FigureData) else "",
)
def test_data_as_csv(data, rows):
    assert list(csv.reader(figure_csv(data).splitlines(keepends=True))) == rows

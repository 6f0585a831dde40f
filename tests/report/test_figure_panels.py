"""Panels of figures: a place to draw in, caption, command, and every value in a table."""

import math

from declutch.report.figure_panels import MAX_ROWS, figure_data, figure_panels

PLAIN = {"x_ticks": (), "y_ticks": (), "values": (), "series": (), "lines": (), "command": ""}


def figure(kind, **changes):
    labels = {"name": "f", "title": "T", "caption": "n = 2", "x_label": "x", "y_label": "y"}
    return figure_data({"kind": kind, **labels, **PLAIN, **changes})


def series(x, y):
    return {"label": "a", "x": x, "y": y, "low": (), "high": (), "style": ""}


def test_numbers_that_are_none_are_null():
    assert figure_data({"a": (1.0, math.nan, 2), "b": "x"}) == {"a": [1.0, None, 2], "b": "x"}


def test_each_kind_has_its_values_in_a_table():
    heat = figure(
        "heatmap", x_ticks=("go <a>",), y_ticks=("open",), values=((math.nan,),), command="do <it>"
    )
    bars = figure("bars", x_ticks=("pp", "nn"), series=(series((0, 1), (0.5, -0.25)),))
    line = {"label": "A", "tokens": ("go",), "scores": (1.5,), "total": 1.5}
    text = figure_panels([heat, bars, figure("tokens", lines=(line,))])
    for part in ("go &lt;a&gt;", "do &lt;it&gt;", "n = 2", "pp", "-0.25", "1.5", ">–<"):
        assert part in text
    assert [f'id="figure-{index}"' in text for index in range(4)] == [True] * 3 + [False]


def test_long_curves_are_thinned_and_it_is_said():
    points = list(range(2 * MAX_ROWS))
    text = figure_panels([figure("lines", series=(series(points, points),))])
    assert text.count("<tr>") <= MAX_ROWS + 1
    assert "Every 2th point" in text

"""Draw figures of coupling with matplotlib at paper size: PNG, SVG, PDF, and the data as CSV.

The caption and the command that makes the figure stand below it in the file itself. Colour-blind
readers can tell the colours apart, too: lines have the palette of Okabe and Ito and differ in
dashes, values around 0 go from blue to red with 0 in white in the middle of a labelled bar, and all
others from dark blue to yellow. matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from declutch.coupling.figure_data import FigureData, Series, TokenLine
from declutch.ground.errors import UserError
from declutch.ground.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
WIDTH = 5.5
"""Inches: the text of a page in one column."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's colours, which people tell apart who do not see all colours."""
DASHES = ("-", (0, (6, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)))
_RC: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "declutch",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # Actions and tokens may have dollar signs, which are no formulas.
    "text.parse_math": False,
}
_CHARACTERS = 108
_LINE = 0.125
"""Characters of a caption in a line of the figure's width, and inches that a line is high."""


def write_figures(folder: Path, figures: Sequence[FigureData]) -> list[Path]:
    """Draw figures of coupling into a folder: NAME.png, .svg, .pdf, and NAME.csv with the data.

    Returns:
        The files, in order.
    Raises:
        UserError: matplotlib is not installed, or a file cannot be written.
    """
    written = []
    for data in figures:
        figure = draw_figure(data)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for ending in FORMATS:
                path = folder / f"{data.name}.{ending}"
                _save(figure, path, data)
                written.append(path)
        except OSError as error:
            raise UserError(f"cannot write figures into {folder}: {error.strerror}") from None
        path = folder / f"{data.name}.csv"
        write_atomically(path, figure_csv(data))
        written.append(path)
    return written


def draw_figure(data: FigureData) -> Figure:
    """Draw a figure of coupling with matplotlib; whoever calls it saves it in a format.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("drawing figures needs matplotlib: pip install matplotlib") from None

    caption = _caption_lines(data)
    height = _plot_height(data)
    below = 0.12 + _LINE * len(caption)
    with rc_context(_RC):
        figure = Figure(figsize=(WIDTH, height + below), layout="constrained")
        share = below / (height + below)
        engine: Any = figure.get_layout_engine()
        engine.set(rect=(0, share, 1, 1 - share))
        axes = figure.subplots()
        axes.set_title(_wrap(data.title, 62), loc="left", fontweight="bold")
        _DRAW[data.kind](axes, data)
        for index, line in enumerate(caption):
            top = (below - 0.06 - _LINE * index) / (height + below)
            figure.text(0.01, top, line, fontsize=6.5, va="top", color="#444444")
    return figure


def figure_csv(data: FigureData) -> str:
    """Write any of coupling's figures as CSV; a heat map has column texts in line one.

    Curves, bars and points are lines "series, x, y" with "low, high" where there are intervals;
    tokens are lines "text, position, token, score" with the printed total last.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if data.kind == "heatmap":
        writer.writerow([data.y_label or "row", *data.x_ticks])
        for name, row in zip(data.y_ticks, data.values, strict=True):
            writer.writerow([name, *map(_number, row)])
    elif data.kind == "tokens":
        writer.writerow(["text", "position", "token", "score"])
        for line in data.lines:
            for place, (token, score) in enumerate(zip(line.tokens, line.scores, strict=True)):
                writer.writerow([line.label, place, token, _number(score)])
            writer.writerow([line.label, "total", "", _number(line.total)])
    else:
        has_ends = any(len(series.low) for series in data.series)
        columns = ["series", data.x_label or "x", data.y_label or "y"]
        writer.writerow([*columns, *(["low", "high"] if has_ends else [])])
        for series in data.series:
            _write_series(writer, data, series, has_ends)
    return text.getvalue()


def _write_series(writer: Any, data: FigureData, series: Series, has_ends: bool) -> None:
    for index, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        place = data.x_ticks[round(x)] if data.kind == "bars" and data.x_ticks else _number(x)
        row = [series.label, place, _number(y)]
        if has_ends:
            ends = (series.low, series.high) if len(series.low) else ((), ())
            row += [_number(each[index]) if len(each) else "" for each in ends]
        writer.writerow(row)


def _number(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""


def _save(figure: Figure, path: Path, data: FigureData) -> None:
    from matplotlib import rc_context

    # Without dates, the same data give the same file.
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Title": data.title, "Description": data.caption, "Software": None},
        "svg": {"Title": data.title, "Description": data.caption, "Date": None},
        "pdf": {"Title": data.title, "Subject": data.caption, "CreationDate": None},
    }
    ending = path.suffix.removeprefix(".")
    with rc_context(_RC):
        figure.savefig(path, dpi=200, metadata=metadata[ending])


def _caption_lines(data: FigureData) -> list[str]:
    lines = textwrap.wrap(data.caption, _CHARACTERS) if data.caption else []
    if data.command:
        lines += textwrap.wrap(f"$ {data.command}", _CHARACTERS, subsequent_indent="    ")
    return lines


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))


def _plot_height(data: FigureData) -> float:
    if data.kind == "heatmap":
        return min(max(2.2, 0.17 * len(data.y_ticks) + 1.8), 9.0)
    if data.kind == "tokens":
        return 0.5 + 0.19 * sum(1 + len(_token_rows(line)) for line in data.lines)
    return 3.1


def _draw_axes(axes: Axes, data: FigureData) -> None:
    axes.set_xlabel(data.x_label)
    axes.set_ylabel(data.y_label)
    if data.x_log:
        axes.set_xscale("log")
    if data.y_log:
        axes.set_yscale("log")
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for place, text in data.marks:
        axes.axvline(place, color="#777777", linewidth=0.8, linestyle=(0, (4, 2)))
        axes.annotate(
            text,
            (place, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=6.5,
            color="#555555",
        )
    if any(series.label for series in data.series):
        axes.legend(fontsize=7, loc="best", framealpha=0.85, edgecolor="none")


def _draw_lines(axes: Axes, data: FigureData) -> None:
    for index, series in enumerate(data.series):
        color = COLORS[index % len(COLORS)]
        x, y = np.asarray(series.x, float), np.asarray(series.y, float)
        dashes = (0, (2, 2)) if series.style == "dashed" else DASHES[index % len(DASHES)]
        marker = "o" if len(x) == 1 else ""
        axes.plot(
            x, y, color=color, linestyle=dashes, marker=marker, markersize=4, label=series.label
        )
        if len(series.low):
            axes.fill_between(
                x,
                np.asarray(series.low, float),
                np.asarray(series.high, float),
                color=color,
                alpha=0.15,
                linewidth=0,
            )
    _draw_axes(axes, data)


def _draw_points(axes: Axes, data: FigureData) -> None:
    markers = "osD^vPX"
    for index, series in enumerate(data.series):
        axes.errorbar(
            np.asarray(series.x, float),
            np.asarray(series.y, float),
            yerr=_whiskers(series),
            fmt=markers[index % len(markers)],
            color=COLORS[index % len(COLORS)],
            markersize=4,
            elinewidth=0.9,
            label=series.label,
        )
    _draw_axes(axes, data)


def _draw_bars(axes: Axes, data: FigureData) -> None:
    width = 0.8 / max(len(data.series), 1)
    hatches = ("", "//", "..", "xx", "--", "\\\\", "++")
    for index, series in enumerate(data.series):
        shift = (index - (len(data.series) - 1) / 2) * width
        axes.bar(
            np.asarray(series.x, float) + shift,
            np.asarray(series.y, float),
            width * 0.92,
            yerr=_whiskers(series),
            color=COLORS[index % len(COLORS)],
            hatch=hatches[index % len(hatches)],
            edgecolor="white",
            linewidth=0.4,
            error_kw={"elinewidth": 0.9},
            label=series.label,
        )
    axes.axhline(0, color="#777777", linewidth=0.7)
    _draw_axes(axes, data)
    if data.x_ticks:
        axes.set_xticks(range(len(data.x_ticks)), [_wrap(tick, 18) for tick in data.x_ticks])
    axes.grid(visible=False, axis="x")


def _whiskers(series: Series) -> list[Any] | None:
    if not len(series.low):
        return None
    y = np.asarray(series.y, float)
    ends = [y - np.asarray(series.low, float), np.asarray(series.high, float) - y]
    return [np.maximum(end, 0) for end in ends]


def _draw_heatmap(axes: Axes, data: FigureData) -> None:
    values = np.asarray(data.values, float)
    colors: dict[str, Any] = {"cmap": "cividis"}
    if data.is_diverging:
        limit = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
        colors = {"cmap": "RdBu_r", "vmin": -(limit or 1.0), "vmax": limit or 1.0}
    image = axes.imshow(values, aspect="auto", interpolation="nearest", **colors)
    axes.set_xlabel(data.x_label)
    axes.set_ylabel(data.y_label)
    size = 7 if max(len(data.x_ticks), len(data.y_ticks)) <= 24 else 5.5
    axes.set_xticks(
        range(len(data.x_ticks)),
        [_clip(tick) for tick in data.x_ticks],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
        fontsize=size,
    )
    axes.set_yticks(range(len(data.y_ticks)), [_clip(t) for t in data.y_ticks], fontsize=size)
    axes.figure.colorbar(image, ax=axes, label=data.value_label, shrink=0.9)
    if values.size <= 150:
        _write_values(axes, values, image)


def _write_values(axes: Axes, values: Any, image: Any) -> None:
    """The numbers in the cells of a small heat map, dark on light and light on dark."""
    for (row, column), value in np.ndenumerate(values):
        if not math.isfinite(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
        axes.text(
            column,
            row,
            f"{value:.2g}",
            ha="center",
            va="center",
            fontsize=5.5,
            color="#111111" if is_light else "#ffffff",
        )


def _clip(text: str, width: int = 34) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


_TOKEN_COLUMNS = 96


def _token_rows(line: TokenLine) -> list[list[int]]:
    """Places of a text's tokens in each row of a figure's width."""
    rows: list[list[int]] = [[]]
    used = 0
    for place, token in enumerate(line.tokens):
        length = len(_shown(token)) + 1
        if used and used + length > _TOKEN_COLUMNS:
            rows.append([])
            used = 0
        rows[-1].append(place)
        used += length
    return rows


def _shown(token: str) -> str:
    return token.replace("\n", "⏎").replace("\t", "→").strip(" ") or "␣"


def _draw_tokens(axes: Axes, data: FigureData) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scores = [abs(score) for line in data.lines for score in line.scores if math.isfinite(score)]
    limit = max(scores, default=1.0) or 1.0
    norm, colors = Normalize(-limit, limit), colormaps["RdBu_r"]
    top = 0.0
    for line in data.lines:
        title = f"{line.label}   total {line.total:.4g}"
        axes.text(0, top, title, va="center", fontsize=7, fontweight="bold")
        top += 1
        for row in _token_rows(line):
            left = 0
            for place in row:
                text, score = _shown(line.tokens[place]), line.scores[place]
                red, green, blue, _ = colors(norm(score))
                is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
                axes.barh(
                    top, len(text), height=0.92, left=left, color=(red, green, blue), linewidth=0
                )
                axes.text(
                    left,
                    top,
                    text,
                    va="center",
                    family="monospace",
                    fontsize=5.6,
                    color="#111111" if is_light else "#ffffff",
                )
                left += len(text) + 1
            top += 1
    axes.set_xlim(0, _TOKEN_COLUMNS)
    axes.set_ylim(top - 0.4, -0.6)
    axes.axis("off")
    mappable = ScalarMappable(norm, colors)
    axes.figure.colorbar(
        mappable, ax=axes, label=data.value_label, orientation="horizontal", shrink=0.5, aspect=40
    )


_DRAW = {
    "lines": _draw_lines,
    "points": _draw_points,
    "bars": _draw_bars,
    "heatmap": _draw_heatmap,
    "tokens": _draw_tokens,
}

"""The report's section on labels: their sources, how these agree, what an endpoint was asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from declutch.report.cells import DASH, format_percent, percent_cell
from declutch.report.drawers.html import draw_html
from declutch.report.pieces import caption_html, empty_html
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.runs.catalogue import key_of, listed, metric_of
from declutch.runs.metric import Metric
from declutch.runs.read import Metrics, RunData

_BOTH = "both/{one}_{one_says}/{other}_{other_says}"
SOURCE_NAMES = {"rule": "the rule", "oracle": "the oracle", "llm": "the language model"}


def labels_section(data: RunData) -> str:
    """The report's labels section: tables summed over all iterations, as far as recorded."""
    rows = data.metrics
    sheets = (origin_sheet(rows), agreement_sheet(rows))
    parts = [draw_html(sheet) for sheet in sheets if sheet.rows]
    account = account_sheet(rows)
    parts += [_asks(rows), draw_html(account) if account.rows else ""]
    return "".join(parts) or empty_html("No steps were labelled.")


def origin_sheet(rows: Sequence[Metrics]) -> Sheet:
    """Table of the report's labels section: the sources that judged steps' labels came from."""
    family = metric_of("labels", "from/{source}")
    origins = {found["source"]: count for found, count in _sums(rows, family)}
    total = sum(origins.values())
    lines = [
        SheetRow((Cell(_name(source)), _count(count), percent_cell(count / total)))
        for source, count in origins.items()
        if total
    ]
    first = words("labels of the judged steps come from")
    return Sheet("", (first, Column("steps"), Column("share", "%")), tuple(lines))


def agreement_sheet(rows: Sequence[Metrics]) -> Sheet:
    """Table of the report's labels section: a confusion matrix of each two sources in a row."""
    pairs: dict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for found, count in _sums(rows, metric_of("labels", _BOTH)):
        pairs[found["one"], found["other"]][found["one_says"], found["other_says"]] = count
    lines = []
    for (one, other), cells in pairs.items():
        counts = [cells.get(pair, 0.0) for pair in _WORDS]
        total = sum(counts)
        if total:
            name = f"{SOURCE_NAMES.get(one, one)} | {SOURCE_NAMES.get(other, other)}"
            # What a source that always says the more frequent word would reach.
            constant = max(counts[0] + counts[2], counts[1] + counts[3])
            shares = ((counts[0] + counts[3]) / total, constant / total)
            lines.append(SheetRow((Cell(name), *map(_count, counts), *map(percent_cell, shares))))
    columns = [Column(f"{a} | {b}") for a, b in _WORDS]
    columns += [Column("agree", "%"), Column("a constant would", "%")]
    return Sheet("", (words("steps both label"), *columns), tuple(lines))


_WORDS = (("good", "good"), ("good", "bad"), ("bad", "good"), ("bad", "bad"))


def account_sheet(rows: Sequence[Metrics]) -> Sheet:
    """Table of the report's labels section: the endpoint's calls, tokens, cost and seconds."""
    asked = [metric for metric in listed() if metric.section == "endpoint"]
    account = {m: _sum(rows, m.key) for m in asked if any(m.key in row for row in rows)}
    digits = {"cost": ".4g"}
    cells = [Cell(f"{value:{digits.get(m.name, '.0f')}}", value) for m, value in account.items()]
    columns = [Column(metric.label) for metric in account]
    lines = (SheetRow((Cell("all iterations"), *cells)),) if account else ()
    return Sheet("", (words("endpoint"), *columns), lines)


def _asks(rows: Sequence[Metrics]) -> str:
    asked = [row for row in rows if row.get(key_of("labels", "llm_steps"))]
    if not asked:
        return ""
    steps, kept, good, asks, unreadable, failed = (
        _sum(asked, key_of("labels", f"llm_{name}"))
        for name in ("steps", "kept", "good", "asks", "unreadable", "failed")
    )
    away = int(_sum(asked, key_of("labels", "endpoint_failed")))
    text = (
        f"The language model was asked about {steps:.0f} steps, {asks:.0f} times in all: "
        f"{kept:.0f} labels ({_percent(kept, steps)} of the steps), {_percent(good, kept)} of them "
        f"good; {_percent(unreadable, asks)} of the answers' verdicts could not be read, "
        f"{_percent(failed, asks)} of the asks got no answer."
    )
    lines = caption_html(text)
    if away:
        sentence = f"In {away} of {len(rows)} iterations the endpoint was away"
        lines += caption_html(f"{sentence}, and no label came from it.", is_warning=True)
    return lines


def _sums(rows: Sequence[Metrics], family: Metric) -> list[tuple[dict[str, str], float]]:
    """What each key of a family has in the place of its words, and its sum over iterations."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [(found, _sum(rows, key)) for key in keys if (found := family.match(key))]


def _sum(rows: Sequence[Metrics], key: str) -> float:
    return sum(row.get(key) or 0.0 for row in rows)


def _name(source: str) -> str:
    return " and ".join(SOURCE_NAMES.get(part, part) for part in source.split("+"))


def _count(value: float) -> Cell:
    return Cell(f"{value:.0f}", value)


def _percent(part: float, total: float) -> str:
    return f"{format_percent(part / total)}%" if total else DASH

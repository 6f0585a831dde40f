"""Where the labels came from, how the sources agree, and what an endpoint was asked for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape

from declutch.report.sections import DASH, table_html
from declutch.report.tables import format_percent
from declutch.runs.read import Metrics, RunData

SOURCE_NAMES = {"rule": "the rule", "oracle": "the oracle", "llm": "the language model"}
_BOTH = "labels/both/"
_FROM = "labels/from/"


def labels_section(data: RunData) -> str:
    """Sums over all iterations; what was not recorded is left out."""
    rows = data.metrics
    parts = (_origins(rows), _agreement(rows), _asks(rows), _account(rows))
    return "".join(parts) or '<p class="empty">No steps were labelled.</p>'


def _origins(rows: Sequence[Metrics]) -> str:
    origins = _sums(rows, _FROM)
    total = sum(origins.values())
    if not total:
        return ""
    body = [
        f"<tr><th>{escape(_name(source))}</th>{_number(count)}{_share(count, total)}</tr>"
        for source, count in origins.items()
    ]
    return table_html(["labels of the judged steps come from", "steps", "share"], body)


def _agreement(rows: Sequence[Metrics]) -> str:
    """The confusion matrix of each two sources, a line each."""
    pairs: dict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for key, count in _sums(rows, _BOTH).items():
        (one, a), (other, b) = (part.rsplit("_", 1) for part in key.split("/"))
        pairs[one, other][a, b] = count
    body = []
    for (one, other), cells in pairs.items():
        counts = [
            cells.get((a, b), 0.0) for a, b in (_GOODS, ("good", "bad"), ("bad", "good"), _BADS)
        ]
        total = sum(counts)
        if total:
            name = f"{SOURCE_NAMES.get(one, one)} | {SOURCE_NAMES.get(other, other)}"
            numbers = "".join(_number(count) for count in counts)
            # What a source that always says the more frequent word would reach.
            constant = max(counts[0] + counts[2], counts[1] + counts[3])
            agreed = _share(counts[0] + counts[3], total) + _share(constant, total)
            body.append(f"<tr><th>{escape(name)}</th>{numbers}{agreed}</tr>")
    if not body:
        return ""
    headings = ["steps both label", "good | good", "good | bad", "bad | good", "bad | bad"]
    return table_html([*headings, "agree", "a constant would"], body)


_GOODS, _BADS = ("good", "good"), ("bad", "bad")


def _asks(rows: Sequence[Metrics]) -> str:
    asked = [row for row in rows if row.get("labels/llm_steps")]
    if not asked:
        return ""
    steps, kept, good = (_sum(asked, f"labels/llm_{name}") for name in ("steps", "kept", "good"))
    asks, unreadable, failed = (
        _sum(asked, f"labels/llm_{name}") for name in ("asks", "unreadable", "failed")
    )
    away = int(_sum(asked, "labels/endpoint_failed"))
    text = (
        f"The language model was asked about {steps:.0f} steps, {asks:.0f} times in all: "
        f"{kept:.0f} labels ({_percent(kept, steps)} of the steps), {_percent(good, kept)} of them "
        f"good; {_percent(unreadable, asks)} of the answers' verdicts could not be read, "
        f"{_percent(failed, asks)} of the asks got no answer."
    )
    lines = f'<p class="caption">{text}</p>'
    if away:
        lines += (
            f'<p class="caption warn">In {away} of {len(rows)} iterations the endpoint was away, '
            "and no label came from it.</p>"
        )
    return lines


def _account(rows: Sequence[Metrics]) -> str:
    account = _sums(rows, "endpoint/")
    if not account:
        return ""
    units = {"cost": ".4g", "seconds": ".0f"}
    cells = "".join(
        f'<td class="num">{value:{units.get(name, ".0f")}}</td>' for name, value in account.items()
    )
    headings = ["endpoint", *(name.replace("_", " ") for name in account)]
    return table_html(headings, [f"<tr><th>all iterations</th>{cells}</tr>"])


def _sums(rows: Sequence[Metrics], prefix: str) -> dict[str, float]:
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith(prefix))
    return {key.removeprefix(prefix): _sum(rows, key) for key in keys}


def _sum(rows: Sequence[Metrics], key: str) -> float:
    return sum(row.get(key) or 0.0 for row in rows)


def _name(source: str) -> str:
    return " and ".join(SOURCE_NAMES.get(part, part) for part in source.split("+"))


def _number(value: float) -> str:
    return f'<td class="num">{value:.0f}</td>'


def _share(part: float, total: float) -> str:
    return f'<td class="num">{_percent(part, total)}</td>'


def _percent(part: float, total: float) -> str:
    return f"{format_percent(part / total)}%" if total else DASH

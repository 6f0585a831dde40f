"""The page's tables and texts as HTML; every string that is not ours passes through `escape`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from declutch.behaviour import Shares
from declutch.errors import UserError
from declutch.report.curves import mean_phases
from declutch.report.read import RunData
from declutch.results import EvalResult
from declutch.stats import Estimate
from declutch.summary import MAIN_LEVELS, MEAN_LEVEL, PairedRow, Row, paired, summarise
from declutch.tables import describe_header, format_interval, format_percent

DASH = "–"
LEVEL_MEANINGS = {
    "L0": "seen rooms, trained task types",
    "L1": "unseen rooms, trained task types",
    "L2": "unseen rooms, held-out task types",
    "L0-train": "games trained on",
    "L2-seen": "seen rooms, held-out task types",
    MEAN_LEVEL: "unweighted mean of L0, L1, L2",
}
PHASE_NAMES = {"eval": "evaluate"}

Key = tuple[str, str]


def header_section(data: RunData) -> str:
    """Name, method in one line, and the settings a reader asks for first."""
    facts = [(label, value) for label, value in _settings(data) if value]
    chips = "".join(
        f'<div class="fact"><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>'
        for label, value in facts
    )
    return (
        f'<p class="kicker">declutch run</p><h1>{escape(data.name)}</h1>'
        f'<p class="method">{escape(describe_method(data.config))}</p>'
        f'<dl class="facts">{chips}</dl>'
    )


def describe_method(config: Mapping[str, Any]) -> str:
    """What was trained, in one line."""
    if not config:
        return "Settings unknown."
    method = str(pick(config, "algorithm.type") or "?").upper()
    if pick(config, "gcd.enabled"):
        method += (
            f" + GCD · {pick(config, 'gcd.labels')} labels, weight {pick(config, 'gcd.weight')}, "
            f"{pick(config, 'gcd.num_questions')} steps × {pick(config, 'gcd.num_judgments')} "
            "judgments per iteration"
        )
    return f"{method} · suite {pick(config, 'env.suite')} · seed {pick(config, 'seed')}"


def pick(data: Mapping[str, Any], path: str) -> Any:
    """The value under a dotted path, None where any part is missing."""
    node: Any = data
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def notes_section(notes: Sequence[str]) -> str:
    """What is missing or damaged; nothing where all is there."""
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<aside class="notes"><strong>Not complete</strong><ul>{items}</ul></aside>'


def score_cards(data: RunData) -> str:
    """One card per level: success now, where it came from, and the paired difference."""
    before, after = data.before, data.after.result if data.after else None
    shown = after or before
    if shown is None:
        return '<p class="empty">Nothing has been evaluated yet.</p>'
    start = {row.level: row for row in summarise(before, by_kind=False)} if before else {}
    pairs = _paired_rows(before, after)
    cards = [
        _card(row, start.get(row.level) if after else None, pairs.get((row.level, "")))
        for row in _ordered(summarise(shown, by_kind=False))
        if row.level in (*MAIN_LEVELS, MEAN_LEVEL)
    ]
    when = f"after {data.after.iteration} iterations" if data.after else "cold start"
    return (
        f'<p class="caption">Success {escape(when)} · {escape(describe_header([shown]))}</p>'
        f'<div class="cards">{"".join(cards)}</div>'
    )


def comparison_section(data: RunData) -> str:
    """Cold start, control and trained policy per level and task type, with paired differences."""
    after = data.after.result if data.after else None
    columns = [
        (name, result)
        for name, result in (
            ("cold start", data.before),
            ("more SFT", data.control),
            ("after RL", after),
        )
        if result is not None
    ]
    if not columns:
        return '<p class="empty">Nothing has been evaluated yet.</p>'
    tables = [({(r.level, r.kind): r for r in summarise(result)}) for _, result in columns]
    differences = _differences(data.before, data.control, after)
    keys = list(dict.fromkeys(key for table in tables for key in table))
    keys.sort(key=lambda key: _level_rank(key[0]))
    headings = ["level and task type", "games", *(name for name, _ in columns)]
    headings += [heading for heading, _ in differences]
    body = [_comparison_row(key, tables, differences) for key in keys]
    errors = sum(row.num_env_errors for table in tables for (_, kind), row in table.items() if kind)
    note = ""
    if errors:
        note = (
            f'<p class="caption warn">{errors} plays of these evaluations ended in an '
            "environment error; they are left out of every number above.</p>"
        )
    return _problems(data.before, data.control, after) + _table(headings, body) + note


def behaviour_section(data: RunData) -> str:
    """What the actions were, before and after, in all plays and by outcome."""
    after = data.after.result if data.after else None
    named = (("cold start", data.before), ("more SFT", data.control), ("after RL", after))
    results = [(name, result) for name, result in named if result is not None]
    if not results:
        return '<p class="empty">Nothing has been evaluated yet.</p>'
    headings = ["level and policy", "plays", "steps", "timed out", "repeated", "looped"]
    headings += ["invalid", "inadmissible", "tokens per response"]
    rows: dict[str, list[str]] = {}
    for name, result in results:
        for row in summarise(result, by_kind=False):
            if row.level != MEAN_LEVEL:
                rows.setdefault(row.level, []).extend(_behaviour_rows(name, row))
    body = []
    for level in sorted(rows, key=_level_rank):
        body.append(f'<tr class="level"><th colspan="{len(headings)}">{escape(level)}</th></tr>')
        body.extend(rows[level])
    return _table(headings, body)


def phases_section(data: RunData) -> str:
    """Mean seconds of each phase and its share of an iteration."""
    means = mean_phases(data.metrics)
    whole = sum(means.values())
    if not whole:
        return '<p class="empty">No times were recorded.</p>'
    body = [
        f'<tr><td><span class="swatch phase-{phase}"></span>{PHASE_NAMES.get(phase, phase)}</td>'
        f'<td class="num">{seconds:.2f}</td><td class="num">{format_percent(seconds / whole)}%</td>'
        "</tr>"
        for phase, seconds in means.items()
    ]
    note = ""
    if "judge" in means:
        judging = means.get("label", 0.0) + means["judge"]
        iteration = whole - means.get("eval", 0.0) - means.get("save", 0.0)
        note = (
            f'<p class="caption">Labelling and judging take {format_percent(judging / iteration)}% '
            "of an iteration without evaluation and saving; the judge samples' part of the update "
            "comes on top.</p>"
        )
    return _table(["phase", "mean seconds", "share"], body) + note


def config_section(data: RunData) -> str:
    """The configuration and what the cold start wrote down, folded away."""
    parts = []
    for name, facts in data.facts.items():
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        parts.append(_folded(name, text))
    if data.config_text:
        parts.append(_folded("config.yaml", data.config_text))
    for name, result in data.others.items():
        parts.append(_folded_html(f"evaluation {name}", _result_html(result)))
    return "".join(parts) or '<p class="empty">Nothing was recorded.</p>'


def _settings(data: RunData) -> list[tuple[str, str]]:
    config = data.config
    done = int(data.metrics[-1]["iteration"] or 0) if data.metrics else 0
    planned = pick(config, "train.iterations")
    tasks, group = pick(config, "train.tasks_per_iteration"), pick(config, "train.group_size")
    protocols = {e.result.protocol for e in data.evaluations if e.result.protocol}
    protocols |= {str(f["protocol"]) for f in data.facts.values() if f.get("protocol")}
    constrained = pick(config, "agent.constrain_actions")
    decoding = {True: "masked to admissible", False: "free"}.get(constrained, "")
    return [
        ("cold-start protocol", ", ".join(sorted(protocols))),
        ("iterations", f"{done} of {planned}" if planned else str(done)),
        ("tasks × episodes", f"{tasks} × {group}" if tasks else ""),
        ("learning rate", _text(pick(config, "optimizer.lr"))),
        ("KL weight", _text(pick(config, "loss.kl_coef"))),
        ("steps per episode", _text(pick(config, "env.max_steps"))),
        ("prompt", _text(pick(config, "agent.prompt"))),
        ("actions", decoding),
        ("test temperature", _text(pick(config, "eval.temperature"))),
        ("model", _text(pick(config, "model.path"))),
    ]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _card(row: Row, start: Row | None, pair: PairedRow | None) -> str:
    level, success = row.level, row.success
    origin = ""
    if start is not None:
        origin = f'<span class="from">{format_percent(start.success.mean)}% →</span> '
    change = ""
    if pair is not None and pair.difference.n:
        change = (
            f'<p class="change {_direction(pair.difference)}">'
            f"{_signed(pair.difference.mean)} points "
            f"<small>{format_interval(pair.difference, is_signed=True)}</small></p>"
        )
    meaning = LEVEL_MEANINGS.get(level, "")
    return (
        f'<div class="card level-{escape(level)}"><h3>{escape(level)}<small>{escape(meaning)}'
        f'</small></h3><p class="big">{origin}{format_percent(success.mean)}%</p>'
        f'<p class="interval">{format_interval(success)} · n = {success.n}</p>{change}</div>'
    )


def _paired_rows(before: EvalResult | None, after: EvalResult | None) -> dict[Key, PairedRow]:
    if before is None or after is None:
        return {}
    try:
        return {(row.level, row.kind): row for row in paired(before, after)}
    except UserError:
        return {}


def _problems(*results: EvalResult | None) -> str:
    """Why a difference is not shown, where the evaluations cannot be compared."""
    first, control, last = results
    notes = []
    for one, two in ((first, last), (first, control), (control, last)):
        if one is None or two is None:
            continue
        try:
            paired(one, two)
        except UserError as error:
            notes.append(f'<p class="caption warn">No paired difference: {escape(str(error))}.</p>')
    return "".join(notes)


def _differences(
    before: EvalResult | None, control: EvalResult | None, after: EvalResult | None
) -> list[tuple[str, dict[Key, PairedRow]]]:
    found = [
        ("RL − cold start", _paired_rows(before, after)),
        ("RL − more SFT", _paired_rows(control, after)),
        ("more SFT − cold start", _paired_rows(before, control) if after is None else {}),
    ]
    return [(name, rows) for name, rows in found if rows]


def _comparison_row(
    key: Key,
    tables: Sequence[Mapping[Key, Row]],
    differences: Sequence[tuple[str, Mapping[Key, PairedRow]]],
) -> str:
    level, kind = key
    rows = [table.get(key) for table in tables]
    games = max((row.success.n for row in rows if row), default=0)
    cells = [f'<td class="num">{games}</td>']
    cells += [_estimate_cell(row.success if row else None) for row in rows]
    cells += [_difference_cell(table.get(key)) for _, table in differences]
    if kind:
        return f'<tr class="kind"><th>{escape(kind)}</th>{"".join(cells)}</tr>'
    meaning = f" <small>{escape(LEVEL_MEANINGS.get(level, ''))}</small>"
    return f'<tr class="level"><th>{escape(level)}{meaning}</th>{"".join(cells)}</tr>'


def _estimate_cell(success: Estimate | None) -> str:
    if success is None or success.n == 0:
        return f'<td class="num">{DASH}</td>'
    return (
        f'<td class="num">{format_percent(success.mean)} '
        f"<small>{format_interval(success)}</small></td>"
    )


def _difference_cell(row: PairedRow | None) -> str:
    if row is None or row.difference.n == 0:
        return f'<td class="num">{DASH}</td>'
    hint = f"{row.difference.n} games played by both"
    if row.test is not None:
        hint += f"; exact McNemar p = {row.test.p_value:.2g}"
        hint += (
            f", {row.test.only_second} won by the second alone, {row.test.only_first} by the first"
        )
    return (
        f'<td class="num {_direction(row.difference)}" title="{escape(hint)}">'
        f"{_signed(row.difference.mean)} "
        f"<small>{format_interval(row.difference, is_signed=True)}</small></td>"
    )


def _behaviour_rows(name: str, row: Row) -> list[str]:
    whole = [_share_row(name, row.shares, format_percent(row.timed_out) + "%", "")]
    split = (("won", row.shares_won), ("not won", row.shares_failed))
    return whole + [_share_row(label, shares, "", "kind") for label, shares in split]


def _share_row(name: str, shares: Shares, timed_out: str, style: str) -> str:
    values = [str(shares.num_episodes), _mean(shares.num_steps), timed_out]
    parts = (shares.repeated, shares.looped, shares.invalid, shares.inadmissible)
    values += [f"{format_percent(part)}%" if shares.num_episodes else DASH for part in parts]
    values.append(_mean(shares.response_tokens))
    cells = "".join(f'<td class="num">{value}</td>' for value in values)
    return f'<tr class="{style}"><th>{escape(name)}</th>{cells}</tr>'


def _mean(value: float) -> str:
    return DASH if value != value else f"{value:.1f}"


def _result_html(result: EvalResult) -> str:
    headings = ["level and task type", "games", "success", "timed out"]
    body = []
    for row in summarise(result):
        name = f'<tr class="{"kind" if row.kind else "level"}"><th>{escape(row.kind or row.level)}'
        count = f'</th><td class="num">{row.success.n}</td>'
        timed_out = f'<td class="num">{format_percent(row.timed_out)}%</td></tr>'
        body.append(name + count + _estimate_cell(row.success) + timed_out)
    return f'<p class="caption">{escape(describe_header([result]))}</p>' + _table(headings, body)


def _table(headings: Sequence[str], body: Sequence[str]) -> str:
    first, *rest = headings
    head = f"<th>{escape(first)}</th>" + "".join(
        f'<th class="num">{escape(heading)}</th>' for heading in rest
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _folded(title: str, text: str) -> str:
    return _folded_html(title, f"<pre>{escape(text)}</pre>")


def _folded_html(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _signed(share: float) -> str:
    # A minus sign as wide as the plus sign, so that columns of differences line up.
    return f"{100 * share:+.1f}".replace("-", "−")


def _direction(difference: Estimate) -> str:
    if not difference.excludes_zero:
        return "even"
    return "up" if difference.mean > 0 else "down"


def _ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: _level_rank(row.level))


def _level_rank(level: str) -> tuple[int, str]:
    if level in MAIN_LEVELS:
        return MAIN_LEVELS.index(level), ""
    return (len(MAIN_LEVELS), "") if level == MEAN_LEVEL else (len(MAIN_LEVELS) + 1, level)

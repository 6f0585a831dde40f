"""The page's tables and texts as HTML; every string that is not ours passes through `escape`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from declutch.config.judge import TaskTraits, task_traits
from declutch.credit.registry import find_method
from declutch.evaluation.behaviour import Shares
from declutch.evaluation.intervals import Estimate
from declutch.evaluation.results import EvalResult, has_partial_scores
from declutch.evaluation.summary import MAIN_LEVELS, MEAN_LEVEL, PairedRow, Row, summarise
from declutch.report.curves import mean_phases
from declutch.report.policies import COLD_START, CONTROL, TRAINED, Comparison, Key, Policy
from declutch.report.tables import describe_header, describe_level, format_interval, format_percent
from declutch.runs.read import RunData

DASH = "–"
PHASE_NAMES = {"eval": "evaluate"}

NOT_EVALUATED = '<p class="empty">Nothing has been evaluated yet.</p>'
SHORT = {TRAINED: "RL"}


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
    algorithm = str(pick(config, "algorithm.type") or "?")
    method = _method_label(algorithm)
    if pick(config, "gcd.enabled"):
        ratio = pick(config, "gcd.gradient_ratio")
        weight = f"weight {pick(config, 'gcd.weight')}"
        if ratio is not None:
            weight = f"gradient {ratio:g} × the agent's"
        task = _task_traits(str(pick(config, "gcd.task") or "judge"))
        name = task.label + ("_sugg" if pick(config, "gcd.suggestions.enabled") else "")
        source = f"{pick(config, 'gcd.labels')} labels, " if task.needs_labels else ""
        times = f" × {pick(config, 'gcd.num_judgments')} {task.answers}" if task.answers else ""
        method += (
            f" + {name} · {source}{weight}, "
            f"{pick(config, 'gcd.num_questions')} steps{times} per iteration"
        )
    return f"{method} · suite {pick(config, 'env.suite')} · seed {pick(config, 'seed')}"


def _method_label(name: str) -> str:
    """The name of a method in titles; its type where a run's own method is not to be found here."""
    try:
        return find_method(name).label
    except ValueError:
        return name


def _task_traits(name: str) -> TaskTraits:
    """The traits of an auxiliary task; plain ones where a run's own task is not found here."""
    try:
        return task_traits(name)
    except ValueError:
        return TaskTraits(name, "answers", needs_labels=True, gives_advice=False)


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
    return f'<aside class="notes"><strong>What this page lacks</strong><ul>{items}</ul></aside>'


def score_cards(data: RunData, comparison: Comparison) -> str:
    """One card per level: success now, where it came from, and the paired difference."""
    start, trained = comparison.policy(COLD_START), comparison.policy(TRAINED)
    shown = trained or start
    if shown is None:
        return NOT_EVALUATED
    pairs = comparison.differences.get((COLD_START, TRAINED), {})
    before = start.rows if start and trained else {}
    cards = [
        _card(shown.rows[key], before.get(key), pairs.get(key), shown.result.suite)
        for key in _ordered(shown.rows)
        if key[0] in (*MAIN_LEVELS, MEAN_LEVEL) and not key[1]
    ]
    when = f"after {data.after.iteration} iterations" if data.after else "of the cold start"
    return (
        f'<p class="caption">Success {escape(when)} · {escape(describe_header([shown.result]))}</p>'
        f'<div class="cards">{"".join(cards)}</div>'
    )


def comparison_section(comparison: Comparison) -> str:
    """Cold start, control and trained policy per level and task type, with paired differences."""
    policies = comparison.policies
    if not policies:
        return ""
    wanted = [(COLD_START, TRAINED), (CONTROL, TRAINED)]
    if comparison.policy(TRAINED) is None:
        wanted = [(COLD_START, CONTROL)]
    pairs = [pair for pair in wanted if pair in comparison.differences]
    headings = ["level and task type", "games", *(f"{policy.name}, %" for policy in policies)]
    headings += [f"{SHORT.get(second, second)} − {first}" for first, second in pairs]
    keys = _ordered({key: None for policy in policies for key in policy.rows})
    body = [
        _comparison_row(
            key,
            [policy.rows.get(key) for policy in policies],
            [comparison.differences[pair].get(key) for pair in pairs],
            policies[0].result.suite,
        )
        for key in keys
    ]
    warnings = [*comparison.problems, *_env_errors(policies)]
    lines = "".join(f'<p class="caption warn">{escape(line)}</p>' for line in warnings)
    return table_html(headings, body) + _scores_html(policies) + lines


def _scores_html(policies: Sequence[Policy]) -> str:
    """What partial scores tell beside success, per level; nothing where there are none."""
    if not any(has_partial_scores(policy.result.games) for policy in policies):
        return ""
    kinds = ("mean score", "finished positive")
    headings = ["level", *(f"{policy.name}, {kind}, %" for policy in policies for kind in kinds)]
    body = []
    for level, kind in _ordered({key: None for policy in policies for key in policy.rows}):
        if kind or level == MEAN_LEVEL:
            continue
        rows = [policy.rows.get((level, "")) for policy in policies]
        shares = [
            share
            for row in rows
            for share in ((row.score, row.finished_positive) if row else (math.nan, math.nan))
        ]
        cells = "".join(f'<td class="num">{format_percent(share)}</td>' for share in shares)
        body.append(f'<tr class="level"><th>{escape(level)}</th>{cells}</tr>')
    return table_html(headings, body)


def behaviour_section(comparison: Comparison) -> str:
    """What the actions were, before and after, in all plays and by outcome."""
    if not comparison.policies:
        return NOT_EVALUATED
    headings = ["level and policy", "plays", "steps", "timed out", "repeated", "looped"]
    headings += ["invalid", "inadmissible", "tokens per response"]
    body = []
    for level, kind in _ordered({key: None for p in comparison.policies for key in p.rows}):
        if kind or level == MEAN_LEVEL:
            continue
        body.append(f'<tr class="level"><th colspan="{len(headings)}">{escape(level)}</th></tr>')
        for policy in comparison.policies:
            if (level, "") in policy.rows:
                body.extend(_behaviour_rows(policy.name, policy.rows[level, ""]))
    return table_html(headings, body)


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
    return table_html(["phase", "mean seconds", "share"], body) + note


def config_section(data: RunData) -> str:
    """The configuration and what the cold start wrote down, folded away."""
    parts = []
    for name, facts in data.facts.items():
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        parts.append(_folded(name, text))
    if data.config_text:
        parts.append(_folded("config.yaml", data.config_text))
    for name, result in data.others.items():
        parts.append(folded_html(f"evaluation {name}", _result_html(result)))
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
        ("learning rate", _learning_rate(config)),
        ("KL weight", _text(pick(config, "loss.kl_coef"))),
        ("steps per episode", _max_steps(config)),
        ("prompt", _text(pick(config, "agent.prompt"))),
        ("actions", decoding),
        ("test temperature", _text(pick(config, "eval.temperature"))),
        ("model", _text(pick(config, "model.path"))),
    ]


def _max_steps(config: Mapping[str, Any]) -> str:
    tested, trained = _text(pick(config, "env.max_steps")), pick(config, "train.max_steps")
    return tested if trained is None else f"{tested}, {trained} in training"


def _learning_rate(config: Mapping[str, Any]) -> str:
    rate = _text(pick(config, "optimizer.lr"))
    return f"{rate}, falling to 0" if pick(config, "optimizer.lr_schedule") == "linear" else rate


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _card(row: Row, start: Row | None, pair: PairedRow | None, suite: str) -> str:
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
    meaning = describe_level(level, suite)
    return (
        f'<div class="card level-{escape(level)}"><h3>{escape(level)}<small>{escape(meaning)}'
        f'</small></h3><p class="big">{origin}{format_percent(success.mean)}%</p>'
        f'<p class="interval">{format_interval(success)} · n = {success.n}</p>{change}</div>'
    )


def _env_errors(policies: Sequence[Policy]) -> list[str]:
    rows = [row for policy in policies for row in policy.rows.values()]
    count = sum(row.num_env_errors for row in rows if not row.kind and row.level != MEAN_LEVEL)
    if not count:
        return []
    return [
        f"{count} plays of these evaluations ended in an environment error; they are left out of "
        "every number above."
    ]


def _comparison_row(
    key: Key,
    rows: Sequence[Row | None],
    differences: Sequence[PairedRow | None],
    suite: str,
) -> str:
    level, kind = key
    games = max((row.success.n for row in rows if row), default=0)
    cells = [f'<td class="num">{games}</td>']
    cells += [_estimate_cell(row.success if row else None) for row in rows]
    cells += [_difference_cell(row) for row in differences]
    if kind:
        return f'<tr class="kind"><th>{_breakable(kind)}</th>{"".join(cells)}</tr>'
    meaning = f" <small>{escape(describe_level(level, suite))}</small>"
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
    has_scores = has_partial_scores(result.games)
    if has_scores:
        headings += ["mean score", "finished positive"]
    body = []
    for row in summarise(result):
        name = (
            f'<tr class="{"kind" if row.kind else "level"}"><th>{_breakable(row.kind or row.level)}'
        )
        count = f'</th><td class="num">{row.success.n}</td>'
        shares = [row.timed_out, *((row.score, row.finished_positive) if has_scores else ())]
        cells = "".join(f'<td class="num">{format_percent(share)}%</td>' for share in shares)
        body.append(f"{name}{count}{_estimate_cell(row.success)}{cells}</tr>")
    return f'<p class="caption">{escape(describe_header([result]))}</p>' + table_html(
        headings, body
    )


def table_html(headings: Sequence[str], body: Sequence[str]) -> str:
    """A table from plain headings and rows of HTML; it scrolls where the screen is narrow."""
    first, *rest = headings
    head = f"<th>{escape(first)}</th>" + "".join(
        f'<th class="num">{escape(heading)}</th>' for heading in rest
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _folded(title: str, text: str) -> str:
    return folded_html(title, f"<pre>{escape(text)}</pre>")


def folded_html(title: str, body: str) -> str:
    """HTML that opens under a plain title."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _breakable(name: str) -> str:
    """`name` escaped, and free to break after an underscore on narrow screens."""
    return escape(name).replace("_", "_<wbr>")


def _signed(share: float) -> str:
    # A minus sign as wide as the plus sign, so that columns of differences line up.
    return f"{100 * share:+.1f}".replace("-", "−")


def _direction(difference: Estimate) -> str:
    if not difference.excludes_zero:
        return "even"
    return "up" if difference.mean > 0 else "down"


def _ordered(keys: Mapping[Key, Any]) -> list[Key]:
    """By level, kinds below their level and in their own order."""
    return sorted(keys, key=lambda key: _level_rank(key[0]))


def _level_rank(level: str) -> tuple[int, str]:
    if level in MAIN_LEVELS:
        return MAIN_LEVELS.index(level), ""
    return (len(MAIN_LEVELS), "") if level == MEAN_LEVEL else (len(MAIN_LEVELS) + 1, level)

"""What a report says of the run itself: name, method in one line, settings, where time went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from declutch.config.judge import TaskTraits, task_traits
from declutch.credit.registry import find_method
from declutch.report.cells import format_percent, number_cell, percent_cell
from declutch.report.drawers.html import draw_html
from declutch.report.pieces import empty_html, folded_html
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.report.tables import result_sheet
from declutch.runs.catalogue import phases
from declutch.runs.metric import Metric
from declutch.runs.read import Metrics, RunData


def header_section(data: RunData) -> str:
    """First of the report's sections on the run itself: name, method in one line, settings."""
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
    """A line in the report's sections on the run itself: method, auxiliary task, suite, seed."""
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
    """A run's setting by dotted path, for its report's sections; None where it is missing."""
    node: Any = data
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return None if isinstance(node, Mapping | list) else node


def phases_section(data: RunData) -> str:
    """One of the report's sections on the run itself: where its time went, if it was recorded."""
    means = mean_phases(data.metrics)
    if not sum(means.values()):
        return empty_html("No times were recorded.")
    return draw_html(phase_sheet(means))


def mean_phases(rows: Sequence[Metrics]) -> dict[Metric, float]:
    """Mean seconds of each phase, for the table in the report's sections; absent phases took 0."""
    return {
        phase: sum(row.get(phase.key) or 0.0 for row in rows) / len(rows)
        for phase in phases()
        if any(phase.key in row for row in rows)
    }


def phase_sheet(means: Mapping[Metric, float]) -> Sheet:
    """Table in the report's sections on the run itself: mean seconds and share of each phase.

    Args:
        means: phase -> mean seconds.
    """
    whole = sum(means.values())
    notes = []
    spent = {phase.name: seconds for phase, seconds in means.items()}
    if "judge" in spent:
        judging = spent.get("label", 0.0) + spent["judge"]
        iteration = whole - spent.get("eval", 0.0) - spent.get("save", 0.0)
        notes.append(
            f"Labelling and judging take {format_percent(judging / iteration)}% of an iteration "
            "without evaluation and saving; the judge samples' part of the update comes on top."
        )
    rows = [
        SheetRow(
            (
                Cell(phase.label),
                number_cell(seconds, digits=2),
                percent_cell(seconds / whole),
            ),
            key=f"swatch-{phase.color}",
        )
        for phase, seconds in means.items()
    ]
    columns = (words("phase"), Column("mean seconds"), Column("share", "%"))
    return Sheet("", columns, tuple(rows), notes=tuple(notes))


def config_section(data: RunData) -> str:
    """Last of the report's sections on the run itself: cold-start facts, settings, evaluations."""
    parts = []
    for name, facts in data.facts.items():
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        parts.append(folded_html(name, _verbatim(text)))
    if data.config_text:
        parts.append(folded_html("config.yaml", _verbatim(data.config_text)))
    for name, result in data.others.items():
        parts.append(folded_html(f"evaluation {name}", draw_html(result_sheet(result))))
    return "".join(parts) or empty_html("Nothing was recorded.")


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


def _verbatim(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"

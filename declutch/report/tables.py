"""Summaries as aligned terminal tables; every header names protocol, temperature and n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from declutch.envs.registry import level_meaning
from declutch.errors import Finding, Status
from declutch.evaluation.behaviour import Shares
from declutch.evaluation.exam_results import JudgeResult, JudgeRow, summarise_judgments
from declutch.evaluation.intervals import Estimate, McNemar
from declutch.evaluation.results import EvalResult, has_partial_scores
from declutch.evaluation.summary import MEAN_LEVEL, PairedRow, Row, paired, summarise

if TYPE_CHECKING:
    from declutch.evaluation.expert import ExpertRow

DASH = "-"


def result_table(*runs: EvalResult) -> Table:
    """Success per level and task type of one evaluation (or of several training seeds).

    Where an environment gives partial scores, their mean and the share finished with more than
    nothing are columns beside it.
    """
    rows = summarise(*runs)
    has_errors = any(row.num_env_errors for row in rows)
    has_scores = has_partial_scores(game for run in runs for game in run.games)
    table = make_table(describe_header(runs), "level and task type", padding=int(not has_scores))
    for heading in ("n", "success\n%", "95%\ninterval", "steps", "timed\nout %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("mean\nscore %", "finished\npositive %") if has_scores else ():
        table.add_column(heading, justify="right", no_wrap=True)
    if has_errors:
        table.add_column("env errors\nleft out", justify="right", style="red", no_wrap=True)
    for row in rows:
        _add_section(table, row.kind)
        errors = [str(row.num_env_errors or "")] if has_errors else []
        scores = _score_cells(row) if has_scores else []
        table.add_row(*_result_cells(row), *scores, *errors, style="" if row.kind else "bold")
    return table


def behaviour_table(*runs: EvalResult) -> Table:
    """What the actions were, per level, over all plays and over won and other plays apart."""
    table = make_table(describe_header(runs), "level and outcome")
    headings = ("n", "steps", "repeated\n%", "looped\n%", "invalid\n%", "inadmis-\nsible %")
    for heading in (*headings, "tokens per\nresponse"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in summarise(*runs):
        if row.kind or row.level == MEAN_LEVEL:
            continue
        _add_section(table, "")
        named = (("all", row.shares), ("won", row.shares_won), ("not won", row.shares_failed))
        for name, shares in named:
            first = row.level if name == "all" else f"  {name}"
            style = "bold" if name == "all" else ""
            table.add_row(first, *_share_cells(shares), style=style)
    return table


def paired_table(
    before: EvalResult | Sequence[EvalResult], after: EvalResult | Sequence[EvalResult]
) -> Table:
    """Success of two policies on the same games, with the interval of the difference."""
    first = (before,) if isinstance(before, EvalResult) else tuple(before)
    second = (after,) if isinstance(after, EvalResult) else tuple(after)
    rows = paired(first, second)
    title = f"{first[0].policy} → {second[0].policy} on the same games\n{describe_header(second)}"
    table = make_table(title, "level and task type", padding=0)
    for heading in ("n", "before\n%", "after\n%", "diff.", "95%\ninterval", "McN.\np"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        _add_section(table, row.kind)
        table.add_row(*_paired_cells(row), style="" if row.kind else "bold")
    return table


def judge_table(result: EvalResult, judge: JudgeResult) -> Table:
    """How steps of `result` were judged, a column per level."""
    title = (
        f"{judge.judge} judges {describe_steps(result, judge)} at temperature "
        f"{format_number(judge.temperature)}\n"
        f"{judge.labels} labels · {describe_setting([result])} · intervals by game"
    )
    table = make_table(title, "")
    rows = summarise_judgments(judge)
    for row in rows:
        table.add_column(row.level, justify="right", no_wrap=True)
    for name, cells in judge_lines(rows).items():
        table.add_row(name, *cells, style="bold" if name == "accuracy, %" else "")
        if name in ("good, %", "a constant verdict, %"):
            table.add_section()
    return table


def describe_steps(result: EvalResult, judge: JudgeResult) -> str:
    """Whose steps were judged, as the judge would say it."""
    return "its own steps" if judge.judge == result.policy else f"the steps of {result.policy}"


def judge_lines(rows: Sequence[JudgeRow]) -> dict[str, list[str]]:
    """What is known of judgments, a cell for each of `rows`."""
    return {
        "judged steps": [str(row.num_steps) for row in rows],
        "of games": [str(row.num_games) for row in rows],
        "good, %": [format_percent(row.good_share) for row in rows],
        "accuracy, %": [format_percent(row.accuracy.mean) for row in rows],
        "95% interval": [format_interval(row.accuracy) for row in rows],
        "right on good steps, %": [format_percent(row.accuracy_good.mean) for row in rows],
        "right on bad steps, %": [format_percent(row.accuracy_bad.mean) for row in rows],
        'bad steps called "good", %': [format_percent(row.false_good) for row in rows],
        "unreadable, %": [format_percent(row.unreadable) for row in rows],
        "a constant verdict, %": [format_percent(row.constant) for row in rows],
        "steps played": [str(row.played.num_steps) for row in rows],
        "labelled": [str(row.played.good + row.played.bad) for row in rows],
        "of these good, %": [format_percent(row.labelled_good_share) for row in rows],
        "accuracy on them, %": [format_percent(row.labelled_accuracy) for row in rows],
        "a constant verdict on them, %": [format_percent(row.labelled_constant) for row in rows],
    }


def expert_rows_table(split: str, rows: Sequence[ExpertRow]) -> Table:
    """How often and how fast the expert solves the games of a split, per task type."""
    table = make_table(f"expert on {split}", "task type")
    headings = ("games", "% won in\n30 steps", "% won in\n50 steps", "median\nsteps")
    for heading in (*headings, "walk-\nthrough"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        if row.kind == "all":
            table.add_section()
        shares = (row.num_won_30, row.num_won_50)
        table.add_row(
            row.kind,
            str(row.num_games),
            *(format_percent(won / row.num_games if row.num_games else math.nan) for won in shares),
            _format_mean(row.median_steps),
            _format_mean(row.median_walkthrough),
            style="bold" if row.kind == "all" else "",
        )
    return table


def describe_level(level: str, suite: str) -> str:
    """What a level of a suite holds, "" for a level of one's own."""
    if level == MEAN_LEVEL:
        return "unweighted mean of L0, L1, L2"
    return level_meaning(suite, level)


def describe_header(runs: Sequence[EvalResult]) -> str:
    """One line: policy, how it was evaluated, plays."""
    policies = list(dict.fromkeys(run.policy for run in runs))
    plays = sum(game.is_counted for run in runs for game in run.games)
    parts = [", ".join(policies), describe_setting(runs), f"{plays} plays, n = games"]
    if len(runs) > 1:
        parts.append(f"{len(runs)} training runs")
    return " · ".join(parts)


def describe_setting(runs: Sequence[EvalResult]) -> str:
    """How policies were evaluated: cold-start protocol, temperature, evaluation seeds, steps."""
    first = runs[0]
    seeds = sorted({seed for run in runs for seed in run.seeds})
    parts = [
        f"protocol {first.protocol}" if first.protocol else "no cold start",
        f"temperature {format_number(first.temperature)}",
        f"evaluation seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds)) or DASH}",
    ]
    if first.max_steps is not None:
        parts.append(f"at most {first.max_steps} steps")
    return " · ".join(parts)


def format_success(estimate: Estimate) -> str:
    """A share with its interval, in percent; a dash where there is nothing."""
    if estimate.n == 0:
        return DASH
    return f"{format_percent(estimate.mean)} {format_interval(estimate)}"


def format_difference(estimate: Estimate) -> str:
    """A difference of shares with its interval, in percent points."""
    if estimate.n == 0:
        return DASH
    return f"{100 * estimate.mean:+.1f} {format_interval(estimate, is_signed=True)}"


def format_percent(share: float, digits: int = 1) -> str:
    """0.1234 as "12.3"; a dash where there is nothing."""
    return DASH if math.isnan(share) else f"{100 * share:.{digits}f}"


def format_interval(estimate: Estimate, *, is_signed: bool = False) -> str:
    """The interval in percent points."""
    if estimate.n == 0:
        return DASH
    sign = "+" if is_signed else ""
    return f"[{100 * estimate.low:{sign}.1f}, {100 * estimate.high:{sign}.1f}]"


def format_number(value: float, digits: int = 3) -> str:
    """Up to `digits` significant digits; a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:.{digits}g}"


def make_table(title: str, first_column: str, padding: int = 1) -> Table:
    """An empty table in the style of all of them."""
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, padding),
    )
    # Where there is no room for all, names give way to numbers.
    table.add_column(first_column, overflow="fold")
    return table


def _result_cells(row: Row) -> list[str | Text]:
    # The mean over levels is about success alone: lengths pooled over levels would be no such mean.
    is_mean = row.level == MEAN_LEVEL
    return [
        _name(row.level, row.kind),
        str(row.success.n),
        format_percent(row.success.mean),
        format_interval(row.success),
        "" if is_mean else _format_mean(row.shares.num_steps),
        "" if is_mean else format_percent(row.timed_out),
    ]


def _score_cells(row: Row) -> list[str]:
    if row.level == MEAN_LEVEL:
        return ["", ""]
    return [format_percent(row.score), format_percent(row.finished_positive)]


def _share_cells(shares: Shares) -> list[str]:
    return [
        str(shares.num_episodes),
        _format_mean(shares.num_steps),
        format_percent(shares.repeated),
        format_percent(shares.looped),
        format_percent(shares.invalid),
        format_percent(shares.inadmissible),
        _format_mean(shares.response_tokens),
    ]


def _paired_cells(row: PairedRow) -> list[str | Text]:
    difference = row.difference
    style = ""
    if difference.excludes_zero:
        style = "green" if difference.mean > 0 else "red"
    return [
        _name(row.level, row.kind),
        str(difference.n),
        format_percent(row.before),
        format_percent(row.after),
        Text(DASH if difference.n == 0 else f"{100 * difference.mean:+.1f}", style=style),
        Text(format_interval(difference, is_signed=True), style=style),
        _format_p(row.test),
    ]


def _name(level: str, kind: str) -> str:
    return f"  {kind}" if kind else level


def _format_p(test: McNemar | None) -> str:
    if test is None:
        return DASH
    return "<.001" if test.p_value < 0.001 else f"{test.p_value:.3f}"


def _format_mean(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.1f}"


def _add_section(table: Table, kind: str) -> None:
    if table.row_count and not kind:
        table.add_section()


def findings_table(findings: Sequence[Finding]) -> Table:
    """The findings, remedies below what they are for."""
    marks = {Status.OK: ("✓", "green"), Status.WARN: ("!", "yellow"), Status.PROBLEM: ("✗", "red")}
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column("")
    table.add_column("checked", no_wrap=True)
    table.add_column("found", overflow="fold")
    for finding in findings:
        mark, style = marks[finding.status]
        found = Text(finding.detail)
        if finding.remedy:
            found.append(f"\n→ {finding.remedy}", style="dim" if style == "green" else style)
        table.add_row(Text(mark, style=f"bold {style}"), finding.name, found)
    return table

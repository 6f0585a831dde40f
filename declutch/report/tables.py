"""Tables of evaluations: success, behaviour, paired differences, judging, sources of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from declutch.evaluation.behaviour import Shares
from declutch.evaluation.exam_results import JudgeResult, JudgeRow, summarise_judgments
from declutch.evaluation.intervals import OVER_GAMES, OVER_RUNS, Estimate
from declutch.evaluation.label_sources import LabelReport, SourceReport
from declutch.evaluation.results import EvalResult, has_partial_scores
from declutch.evaluation.summary import MEAN_LEVEL, PairedRow, Row, paired, summarise
from declutch.report.cells import (
    count_cell,
    difference_cell,
    estimate_cell,
    number_cell,
    p_value_cell,
    percent_cell,
)
from declutch.report.headers import describe_header, describe_judging, describe_setting
from declutch.report.sheet import Cell, Column, Role, Sheet, SheetRow, words


def result_sheet(*runs: EvalResult) -> Sheet:
    """Report table of evaluations: success per level and task type, of one or several seeds.

    Where an environment gives partial scores, their mean and the share finished with more than
    nothing are columns beside it; where plays ended in an environment error, so is their number.
    """
    rows = summarise(*runs)
    has_errors = any(row.num_env_errors for row in rows)
    has_scores = has_partial_scores(game for run in runs for game in run.games)
    columns = [Column("n"), Column("success", "%"), Column("steps"), Column("timed out", "%")]
    if has_scores:
        columns += [Column("mean score", "%"), Column("finished positive", "%")]
    if has_errors:
        columns.append(Column("env errors left out"))
    lines = []
    for row in rows:
        cells = [_name(row), count_cell(row.success.n), estimate_cell(row.success)]
        # The mean over levels is of success alone: lengths pooled over levels are no such mean.
        is_mean = row.level == MEAN_LEVEL
        others = [number_cell(row.shares.num_steps), percent_cell(row.timed_out)]
        others += [percent_cell(row.score), percent_cell(row.finished_positive)] * has_scores
        cells += [Cell("", math.nan) if is_mean else cell for cell in others]
        if has_errors:
            cells.append(Cell(str(row.num_env_errors or ""), row.num_env_errors, tone="down"))
        lines.append(SheetRow(tuple(cells), _role(row.kind)))
    return Sheet(
        title=f"success by level and task type [95% interval over {_over(runs)}]",
        header=describe_header(runs),
        columns=(words("level and task type"), *columns),
        rows=tuple(lines),
    )


def behaviour_sheet(policies: Mapping[str, Iterable[Row]], title: str, header: str = "") -> Sheet:
    """One of the tables that several pages share: what actions were, by level and outcome.

    Args:
        policies: name -> what `summarise` gives; with several, each is a row of every level.
    """
    rows = {
        (row.level, name): row
        for name, found in policies.items()
        for row in found
        if not row.kind and row.level != MEAN_LEVEL
    }
    columns = [Column("plays"), Column("steps"), Column("timed out", "%"), Column("repeated", "%")]
    columns += [Column(name, "%") for name in ("looped", "invalid", "inadmissible")]
    lines = []
    for level in dict.fromkeys(level for level, _ in rows):
        if len(policies) > 1:
            lines.append(SheetRow((Cell(level),), "heading"))
        for name in policies:
            if (level, name) not in rows:
                continue
            row = rows[level, name]
            first: Role = "plain" if len(policies) > 1 else "main"
            named = name if len(policies) > 1 else level
            lines += [
                SheetRow(_share_cells(named, row.shares, percent_cell(row.timed_out)), first),
                SheetRow(_share_cells("won", row.shares_won), "part"),
                SheetRow(_share_cells("not won", row.shares_failed), "part"),
            ]
    return Sheet(
        title=title,
        header=header,
        columns=(words("level and outcome"), *columns, Column("tokens per response")),
        rows=tuple(lines),
    )


def paired_sheet(
    before: EvalResult | Sequence[EvalResult], after: EvalResult | Sequence[EvalResult]
) -> Sheet:
    """One of the report's tables: two policies' difference on the same games."""
    first = (before,) if isinstance(before, EvalResult) else tuple(before)
    second = (after,) if isinstance(after, EvalResult) else tuple(after)
    lines = [
        SheetRow(
            (
                _name(row),
                count_cell(row.difference.n),
                percent_cell(row.before),
                percent_cell(row.after),
                difference_cell(row.difference),
                p_value_cell(row.test),
            ),
            _role(row.kind),
        )
        for row in paired(first, second)
    ]
    return Sheet(
        title=(
            f"{first[0].policy} → {second[0].policy} on the same games "
            f"[95% interval over {_over(first)}]"
        ),
        header=describe_header(second),
        columns=(
            words("level and task type"),
            *(Column("n"), Column("before", "%"), Column("after", "%")),
            *(Column("difference", "points"), Column("McNemar p")),
        ),
        rows=tuple(lines),
    )


def judge_sheet(result: EvalResult, judge: JudgeResult) -> Sheet:
    """One of the report's tables of evaluations: how well steps were judged, by level."""
    levels = summarise_judgments(judge)
    groups = (_judged_cells, _accuracy_cells, _played_cells)
    lines = []
    for cells in groups:
        found = [cells(row) for row in levels]
        for number, name in enumerate(found[0] if found else ()):
            role: Role = "main" if name == "accuracy, %" else "plain"
            values = tuple(level[name] for level in found)
            lines.append(SheetRow((Cell(name), *values), role, is_apart=number == 0))
    return Sheet(
        title=describe_judging(result, judge),
        header=f"{describe_setting([result])} · 95% intervals over {OVER_GAMES}",
        columns=(words("judged"), *(Column(row.level) for row in levels)),
        rows=tuple(lines),
    )


def _judged_cells(row: JudgeRow) -> dict[str, Cell]:
    return {
        "judged steps": count_cell(row.num_steps),
        "of games": count_cell(row.num_games),
        "good, %": percent_cell(row.good_share),
    }


def _accuracy_cells(row: JudgeRow) -> dict[str, Cell]:
    return {
        "accuracy, %": estimate_cell(row.accuracy),
        "right on good steps, %": percent_cell(row.accuracy_good.mean),
        "right on bad steps, %": percent_cell(row.accuracy_bad.mean),
        'bad steps called "good", %': percent_cell(row.false_good),
        "unreadable, %": percent_cell(row.unreadable),
        "a constant verdict, %": percent_cell(row.constant),
    }


def _played_cells(row: JudgeRow) -> dict[str, Cell]:
    return {
        "steps played": count_cell(row.played.num_steps),
        "labelled": count_cell(row.played.good + row.played.bad),
        "of these good, %": percent_cell(row.labelled_good_share),
        "accuracy on them, %": percent_cell(row.labelled_accuracy),
        "a constant verdict on them, %": percent_cell(row.labelled_constant),
    }


def label_sheet(report: LabelReport, title: str) -> Sheet:
    """One of the tables that several pages share: label sources against the oracle."""
    columns = [_source_cells(source) for source in report.sources.values()]
    lines = [
        SheetRow(
            (Cell(name), *(cells[name] for cells in columns)),
            is_apart=name in ("steps the oracle labels too", "says good, the oracle good"),
        )
        for name in columns[0]
    ]
    return Sheet(
        title=f"{report.num_steps} steps of {report.num_episodes} episodes, {title}",
        columns=(words("labels"), *(Column(name) for name in report.sources)),
        rows=tuple(lines),
    )


def _source_cells(source: SourceReport) -> dict[str, Cell]:
    said = {
        f"says {word}, the oracle {true}": count_cell(source.cells[f"{word}/{true}"])
        for word in ("good", "bad")
        for true in ("good", "bad")
    }
    return {
        "steps": count_cell(source.steps),
        "labelled, %": percent_cell(source.labelled),
        "good, of the labelled, %": percent_cell(source.good_share),
        "steps the oracle labels too": count_cell(source.num_compared),
        "agree with it, %": percent_cell(source.agreement),
        "a constant verdict would, %": percent_cell(source.constant),
        'right where it says "good", %': percent_cell(source.precision("good")),
        'right where it says "bad", %': percent_cell(source.precision("bad")),
        **said,
    }


def gain_sheet(before: EvalResult, after: EvalResult, control: EvalResult, title: str) -> Sheet:
    """One of the report's tables: what training and a control of the same time brought."""
    gains = {row.level: row for row in paired(before, after) if row.kind == ""}
    others = {row.level: row for row in paired(before, control) if row.kind == ""}
    lines = []
    for level, gain in gains.items():
        other = others[level]
        cells = [Cell(level), count_cell(gain.difference.n), percent_cell(gain.before)]
        cells += [percent_cell(gain.after), difference_cell(gain.difference)]
        cells += [percent_cell(other.after, "dim"), _dim_difference(other.difference)]
        lines.append(SheetRow(tuple(cells)))
    names = (before.policy, after.policy, "difference", control.policy, "difference")
    columns = [Column(name, "points" if name == "difference" else "%") for name in names]
    notes = (
        f"95% intervals are over {OVER_GAMES}: they say what these three models do on other games "
        "of the kind, and not how another run, or the method, would come out.",
    )
    return Sheet(title, (words("level"), Column("n"), *columns), tuple(lines), notes=notes)


def _over(runs: Sequence[EvalResult]) -> str:
    return OVER_GAMES if len(runs) == 1 else OVER_RUNS


def _dim_difference(estimate: Estimate) -> Cell:
    cell = difference_cell(estimate)
    return Cell(cell.text, cell.value, cell.detail, cell.interval, "dim")


def _name(row: Row | PairedRow) -> Cell:
    return Cell(row.kind or row.level)


def _role(kind: str) -> Role:
    return "part" if kind else "main"


def _share_cells(name: str, shares: Shares, timed_out: Cell | None = None) -> tuple[Cell, ...]:
    parts = (shares.repeated, shares.looped, shares.invalid, shares.inadmissible)
    return (
        Cell(name),
        count_cell(shares.num_episodes),
        number_cell(shares.num_steps),
        timed_out or Cell("", math.nan),
        *map(percent_cell, parts),
        number_cell(shares.response_tokens),
    )

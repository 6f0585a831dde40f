"""The tables of a comparison of runs: success, paired differences, learning curves, seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from declutch.compare.grid import Arm, Grid, describe_state
from declutch.compare.runs import (
    Comparison,
    Pick,
    Picks,
    Selection,
    TrainedRun,
    at_equal_time,
    at_iteration,
    distinct_starts,
    picks_at,
    success_of,
    success_rows,
    training_seconds,
)
from declutch.evaluation.intervals import NOTHING, OVER_RUNS, Estimate
from declutch.evaluation.summary import MAIN_LEVELS, MEAN_LEVEL, PairedRow, paired
from declutch.report.cells import (
    DASH,
    count_cell,
    difference_cell,
    estimate_cell,
    format_percent,
    number_cell,
    percent_cell,
)
from declutch.report.headers import describe_setting
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words
from declutch.runs.catalogue import phases

COLD_START = "cold start"
ALL = "all"
"""In the place of a seed: the seeds pooled."""
OVER = words("interval over")
FEWEST_RUNS = 2
"""Of each side, for a comparison of methods."""
DATA_NAMES = ("method", "gcd", "seed", "level", "kind")
DATA_NUMBERS = ("iteration", "mean", "low", "high", "n", "runs")


@dataclass(frozen=True)
class Contrast:
    """Two sides in a comparison's sheets, on the same games: `after` minus `before`.

    Attributes:
        before, after: evaluations; none where the two cannot be compared.
        note: what has to be said of it.
        is_by_seed: they are paired run by run; otherwise by game only.
    """

    name: str
    before: Picks
    after: Picks
    note: str = ""
    is_by_seed: bool = True


def success_sheet(comparison: Comparison, selection: Selection) -> Sheet:
    """Sheet of a comparison's success per level, a row per arm with its seeds pooled.

    The cold starts come first.
    """
    levels = levels_of(comparison)
    rows = [_success_row(name, picks, levels) for name, picks in start_rows(comparison)]
    rows += [_success_row(str(arm), picks, levels) for arm, picks in selection.picks.items()]
    return Sheet(
        title=f"Success {selection.name}, % [95% interval]",
        header=describe(comparison),
        columns=(words("policy"), *map(Column, (*levels, "games × seeds", "it.")), OVER),
        rows=tuple(rows),
        notes=(*selection.notes, *_single_runs(selection)),
    )


def difference_sheet(comparison: Comparison, selection: Selection) -> Sheet:
    """Sheet of a comparison's paired differences: to cold start, by GCD, to the first method.

    Methods are compared over at least two runs of each. With one, a difference of methods cannot be
    told from one of runs, and a note says so in the place of numbers.
    """
    levels = levels_of(comparison)
    contrasts = find_contrasts(comparison.arms, selection)
    return Sheet(
        title=f"Paired differences {selection.name}, points [95% interval]",
        header=describe(comparison),
        columns=(words("difference"), *map(Column, (*levels, "games × seeds")), OVER),
        rows=tuple(_difference_row(contrast, levels) for contrast in contrasts),
        notes=tuple(contrast.note for contrast in contrasts if contrast.note),
    )


def kind_sheet(comparison: Comparison, selection: Selection) -> Sheet:
    """Sheet of a comparison's success by task type, a column per arm."""
    columns = [*start_rows(comparison), *((str(a), p) for a, p in selection.picks.items())]
    keys = dict.fromkeys(key for _, picks in columns for key in success_rows(picks))
    rows = []
    for level, kind in keys:
        found = [success_of(picks, level, kind) for _, picks in columns]
        cells = [Cell(f"{level} {kind}" if kind else level), count_cell(max(e.n for e in found))]
        rows.append(SheetRow((*cells, *map(estimate_cell, found))))
    return Sheet(
        title=f"Success by task type {selection.name}, % [95% interval]",
        header=describe(comparison),
        columns=(words("level and task type"), Column("games"), *(Column(n) for n, _ in columns)),
        rows=tuple(rows),
        notes=(f"Intervals are over {OVER_RUNS}, and over games alone where there is one run.",),
        is_detail=True,
    )


def curve_sheet(comparison: Comparison) -> Sheet:
    """Sheet of a comparison's learning curves: each arm at each evaluation, its seeds pooled."""
    named = [(str(arm), comparison.of(arm)) for arm in comparison.arms]
    return _curves(comparison, "Learning curves, success %", named, is_detail=False)


def run_curve_sheet(comparison: Comparison) -> Sheet:
    """Sheet of the learning curves of a comparison's single runs."""
    named = [(str(run.id), (run,)) for arm in comparison.arms for run in comparison.of(arm)]
    return _curves(comparison, "Learning curves of single runs, success %", named, is_detail=True)


def phase_sheet(comparison: Comparison) -> Sheet:
    """Sheet of the seconds per iteration of a comparison's runs, and what they were spent on."""
    shown = [phase for phase in phases() if phase.name != "eval"]
    rows = []
    for arm in comparison.arms:
        for run in comparison.of(arm):
            count = max(len(run.metrics), 1)
            whole = sum(training_seconds(row) for row in run.metrics)
            cells = [Cell(str(run.id)), count_cell(len(run.metrics))]
            cells += [number_cell(whole, digits=0), number_cell(whole / count, digits=2)]
            for phase in shown:
                spent = sum(row.get(phase.key) or 0.0 for row in run.metrics)
                share = f"({format_percent(spent / whole)}%)" if whole else ""
                cells.append(replace(number_cell(spent / count, digits=2), detail=share))
            rows.append(SheetRow(tuple(cells)))
    return Sheet(
        title="Seconds per iteration and their shares, evaluations not counted",
        header=describe(comparison),
        columns=(
            *(words("run"), Column("iterations"), Column("training", "s")),
            *(Column("iteration", "s"), *(Column(phase.label, "s") for phase in shown)),
        ),
        rows=tuple(rows),
    )


def plan_sheet(grid: Grid) -> Sheet:
    """Sheet of a comparison's planned runs: how far each is, and the model it starts from."""
    rows = [
        (str(run.id), describe_state(run, grid.folder(run)), run.config.model.path)
        for run in grid.runs
    ]
    return Sheet(
        title=f"{len(grid.waiting)} of {len(grid.runs)} runs to train",
        columns=(words("run"), words("state"), words("starts from")),
        rows=tuple(SheetRow(tuple(map(Cell, row))) for row in rows),
    )


def data_sheet(comparison: Comparison) -> Sheet:
    """Sheet of every evaluation of a comparison in full, for other programs: `table.csv`.

    It has a row for each arm, seed (or "all"), evaluation, level and task type. Iteration 0 is the
    cold start, kind "" is all task types, n counts games, and shares are in [0, 1]. Intervals are
    over the games of one run where `runs` is 1, and else over runs and games.
    """
    rows = []
    for arm in comparison.arms:
        runs = comparison.of(arm)
        name = (arm.method, "on" if arm.has_gcd else "off")
        for iteration in sorted({key for run in runs for key in run.evaluations}):
            picks = picks_at(runs, iteration)
            for pick in picks:
                rows += _data_rows((*name, str(pick.run.id.seed)), (pick,))
            rows += _data_rows((*name, ALL), picks)
    columns = (*map(words, DATA_NAMES), *map(Column, DATA_NUMBERS))
    return Sheet("Every evaluation", columns, tuple(rows), is_detail=True)


def all_sheets(comparison: Comparison, iteration: int | None = None) -> tuple[Sheet, ...]:
    """All sheets of a comparison, in the order of its page.

    At equal iterations, at equal time, learning curves, seconds, then those too long to print.

    Args:
        iteration: which is compared; None takes the last that all evaluated runs have.
    """
    equal = at_iteration(comparison, iteration)
    in_time = at_equal_time(comparison)
    return (
        success_sheet(comparison, equal),
        difference_sheet(comparison, equal),
        success_sheet(comparison, in_time),
        difference_sheet(comparison, in_time),
        curve_sheet(comparison),
        phase_sheet(comparison),
        kind_sheet(comparison, equal),
        run_curve_sheet(comparison),
    )


def describe(comparison: Comparison) -> str:
    """The line above a comparison's sheets: how it was evaluated, on how many games and seeds."""
    results = [result for run in comparison.runs for result in run.evaluations.values()]
    last = Pick(comparison.runs[0], max(comparison.runs[0].evaluations))
    counts = {level: success_of((last,), level).n for level in levels_of(comparison)}
    games = ", ".join(f"{level} {n}" for level, n in counts.items() if level != MEAN_LEVEL)
    seeds = ", ".join(map(str, sorted({run.id.seed for run in comparison.runs})))
    return f"{describe_setting(results)} · n = games ({games}) × training seeds ({seeds})"


def levels_of(comparison: Comparison) -> tuple[str, ...]:
    """Levels in a comparison's sheets, as its runs were evaluated: L0, L1, L2, the mean, others."""
    found = dict.fromkeys(
        level for run in comparison.runs for one in run.evaluations.values() for level in one.levels
    )
    main = [level for level in MAIN_LEVELS if level in found]
    mean = [MEAN_LEVEL] if len(main) == len(MAIN_LEVELS) else []
    return (*main, *mean, *(level for level in found if level not in MAIN_LEVELS))


def start_rows(comparison: Comparison) -> list[tuple[str, Picks]]:
    """Cold starts by name for a comparison's sheets: one for all arms, or as many as differ."""
    groups: dict[Picks, list[str]] = {}
    known: list[Picks] = []
    for arm in comparison.arms:
        starts = distinct_starts(comparison.of(arm))
        if starts:
            same = next((picks for picks in known if _played_alike(picks, starts)), starts)
            known.append(same)
            groups.setdefault(same, []).append(str(arm))
    if len(groups) == 1:
        return [(COLD_START, next(iter(groups)))]
    return [(f"{COLD_START} of {', '.join(arms)}", picks) for picks, arms in groups.items()]


def find_contrasts(arms: Sequence[Arm], selection: Selection) -> list[Contrast]:
    """Which arms a comparison's sheets set against which, over the seeds that both sides have."""
    contrasts = [_from_start(arm, selection.picks[arm]) for arm in arms]
    pairs = [(Arm(arm.method, False), arm) for arm in arms if arm.has_gcd]
    first = arms[0].method
    pairs += [(Arm(first, arm.has_gcd), arm) for arm in arms if arm.method != first]
    for before, after in pairs:
        if before in selection.picks:
            contrasts.append(_between(before, after, selection))
    return contrasts


def _from_start(arm: Arm, picks: Picks) -> Contrast:
    usable = tuple(pick for pick in picks if 0 in pick.run.evaluations)
    starts = tuple(Pick(pick.run, 0) for pick in usable)
    return Contrast(f"{arm} − {COLD_START}", starts, usable)


def _between(before: Arm, after: Arm, selection: Selection) -> Contrast:
    name = f"{after} − {before}"
    one = {pick.run.id.seed: pick for pick in selection.picks[before]}
    two = {pick.run.id.seed: pick for pick in selection.picks[after]}
    common = sorted(set(one) & set(two))
    if len(common) >= FEWEST_RUNS:
        seeds = ", ".join(map(str, common))
        note = f"{name}: over the common seeds {seeds}." if set(one) != set(two) else ""
        return Contrast(name, tuple(one[s] for s in common), tuple(two[s] for s in common), note)
    if min(len(one), len(two)) >= FEWEST_RUNS:
        note = f"{name}: the seeds differ, so that only the games are paired."
        return Contrast(name, tuple(one.values()), tuple(two.values()), note, is_by_seed=False)
    counts = f"{_count_runs(one)} of {before} and {_count_runs(two)} of {after}"
    note = (
        f"{name}: not compared. There {'is' if len(one) == 1 else 'are'} {counts}, and two of each "
        "are the fewest: the runs of one method differ, too."
    )
    return Contrast(name, (), (), note)


def _count_runs(runs: Mapping[int, Pick]) -> str:
    if not runs:
        return "no run"
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''}"


def _data_rows(name: Sequence[str], picks: Picks) -> list[SheetRow]:
    rows = []
    for (level, kind), one in success_rows(picks).items():
        shares = [number_cell(share, digits=6) for share in (one.mean, one.low, one.high)]
        cells = [*map(Cell, (*name, level, kind)), count_cell(picks[0].iteration), *shares]
        rows.append(SheetRow((*cells, count_cell(one.n), count_cell(one.num_runs))))
    return rows


def _difference_row(contrast: Contrast, levels: Sequence[str]) -> SheetRow:
    rows: dict[str, PairedRow] = {}
    if contrast.before:
        results = [[pick.result for pick in side] for side in (contrast.before, contrast.after)]
        found_rows = paired(*results, by_kind=False, is_by_seed=contrast.is_by_seed)
        rows = {row.level: row for row in found_rows}
    found = {level: rows[level].difference if level in rows else NOTHING for level in levels}
    cells = map(difference_cell, found.values())
    counts = dict.fromkeys((len(contrast.before), len(contrast.after)))
    count = _count_cell(found, " and ".join(map(str, counts)))
    return SheetRow((Cell(contrast.name), *cells, count, _over_cell(found)))


def _success_row(name: str, picks: Picks, levels: Sequence[str]) -> SheetRow:
    found = {level: success_of(picks, level) for level in levels}
    iterations = sorted({pick.iteration for pick in picks})
    cells = [*map(estimate_cell, found.values()), _count_cell(found, str(len(picks)))]
    cells += [Cell(", ".join(map(str, iterations)) or DASH), _over_cell(found)]
    return SheetRow((Cell(name), *cells))


def _curves(
    comparison: Comparison,
    title: str,
    named: Sequence[tuple[str, Sequence[TrainedRun]]],
    is_detail: bool,
) -> Sheet:
    levels = levels_of(comparison)
    iterations = sorted({key for run in comparison.runs for key in run.evaluations})
    rows = []
    for name, runs in named:
        points = [picks_at(runs, iteration) for iteration in iterations]
        for level in levels:
            found = [success_of(picks, level) for picks in points]
            shares = [percent_cell(one.mean) for one in found]
            rows.append(SheetRow((Cell(name), Cell(level), *shares)))
    return Sheet(
        title=title,
        header=describe(comparison),
        columns=(words("policy"), words("level"), *(Column(f"it. {n}") for n in iterations)),
        rows=tuple(rows),
        is_detail=is_detail,
    )


def _count_cell(found: Mapping[str, Estimate], seeds: str) -> Cell:
    games = sum(one.n for level, one in found.items() if level != MEAN_LEVEL)
    return Cell(f"{games} × {seeds}" if games else DASH)


def _single_runs(selection: Selection) -> tuple[str, ...]:
    """What a reader has to know of arms with one run."""
    alone = [str(arm) for arm, picks in selection.picks.items() if len(picks) == 1]
    if not alone:
        return ()
    return (
        f"One run alone: {', '.join(alone)}. Its interval is over games, and does not say how "
        "another run of the same method would have come out.",
    )


def _over_cell(found: Mapping[str, Estimate]) -> Cell:
    """What the intervals of a row are over, level by level where they differ."""
    overs = dict.fromkeys(one.over for one in found.values() if one.n)
    return Cell(" or ".join(overs) or DASH)


def _played_alike(one: Picks, two: Picks) -> bool:
    pairs = zip(one, two, strict=False)
    return len(one) == len(two) and all(a.result.games == b.result.games for a, b in pairs)

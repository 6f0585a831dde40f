"""Tables of games: how many a suite has, how its expert does, gold paths, engines compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from declutch.envs.alfworld.match import VerifyReport
from declutch.envs.diagnosis import count_games
from declutch.envs.protocol import HasFolder, Suite
from declutch.envs.scienceworld.gold import GoldPath
from declutch.evaluation.expert import ExpertRow
from declutch.records import TaskId
from declutch.report.cells import count_cell, number_cell, percent_cell
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words


def games_sheet(suite: Suite) -> Sheet:
    """Report table of games: how many a suite has by split and task type."""
    counts = count_games(suite)
    kinds = dict.fromkeys(kind for games in counts.values() for kind in games)
    lines = [
        SheetRow((Cell(kind), *(count_cell(games.get(kind, 0)) for games in counts.values())))
        for kind in kinds
    ]
    totals = (count_cell(sum(games.values())) for games in counts.values())
    lines.append(SheetRow((Cell("all"), *totals), "main"))
    return Sheet(
        title=f"{suite.name}: {suite.root}" if isinstance(suite, HasFolder) else suite.name,
        columns=(words("task type"), *map(Column, counts)),
        rows=tuple(lines),
    )


def expert_sheet(split: str, rows: Sequence[ExpertRow]) -> Sheet:
    """Report table of a split's games: how often and how fast the expert solves them, per type."""
    lines = []
    for row in rows:
        shares = [
            won / row.num_games if row.num_games else math.nan
            for won in (row.num_won_30, row.num_won_50)
        ]
        cells = [Cell(row.kind), count_cell(row.num_games), *map(percent_cell, shares)]
        cells += [number_cell(row.median_steps), number_cell(row.median_walkthrough)]
        lines.append(SheetRow(tuple(cells), "main" if row.kind == "all" else "plain"))
    return Sheet(
        title=f"expert on {split}",
        columns=(
            *(words("task type"), Column("games")),
            *(Column("won in 30 steps", "%"), Column("won in 50 steps", "%")),
            *(Column("median steps"), Column("walkthrough")),
        ),
        rows=tuple(lines),
    )


def gold_sheet(found: Mapping[TaskId, GoldPath], title: str, max_steps: int) -> Sheet:
    """Report table of games' gold paths in ScienceWorld: how many solve, and within `max_steps`."""
    by_kind: dict[str, list[GoldPath]] = {}
    for task, gold in found.items():
        by_kind.setdefault(task.kind, []).append(gold)
    lines = [SheetRow(_gold_cells(kind, paths, max_steps)) for kind, paths in by_kind.items()]
    lines.append(SheetRow(_gold_cells("all", list(found.values()), max_steps), "main"))
    return Sheet(
        title=f"gold paths of {title}, lengths in steps",
        columns=(
            *(words("task"), Column("n"), Column("solved")),
            *(Column(f"in {max_steps}", "%"), Column("median"), Column("max")),
        ),
        rows=tuple(lines),
    )


def _gold_cells(name: str, paths: Sequence[GoldPath], max_steps: int) -> tuple[Cell, ...]:
    lengths = sorted(len(path.actions) for path in paths if path.is_solved)
    within = sum(length <= max_steps for length in lengths)
    middle, longest = (lengths[len(lengths) // 2], lengths[-1]) if lengths else (math.nan, math.nan)
    return (
        Cell(name),
        count_cell(len(paths)),
        count_cell(len(lengths)),
        percent_cell(within / len(paths) if paths else math.nan),
        number_cell(middle, digits=0),
        number_cell(longest, digits=0),
    )


def verify_sheet(report: VerifyReport, seed: int) -> Sheet:
    """Report table of games, walks and action templates that two engines were compared on."""
    groups = {
        "games": report.games,
        "walks": report.walks,
        "successful executions": report.executed,
    }
    lines = []
    for title, counts in groups.items():
        lines.append(SheetRow((Cell(title),), "heading"))
        lines += [
            SheetRow((Cell(str(name)), count_cell(count)), "part")
            for name, count in sorted(counts.items())
        ]
    others = {"nonsense commands": report.num_nonsense, "walks won": report.num_won}
    lines += [
        SheetRow((Cell(name), count_cell(count)), is_apart=number == 0)
        for number, (name, count) in enumerate(others.items())
    ]
    return Sheet(
        title=f"{report.num_games} games, {report.num_steps} steps, seed {seed}",
        columns=(words("compared"), Column("number")),
        rows=tuple(lines),
    )

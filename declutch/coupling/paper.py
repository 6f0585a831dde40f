"""The papers' tables and figures as a list: what makes each here, of which runs, and its state.

A result is made into a folder of its own, `FOLDER/GC-T1/`, with a note of the runs it was made of,
which is where its state is read from again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from declutch.coupling.figure_data import FigureData
from declutch.coupling.figures import write_figures
from declutch.coupling.output import write_json, write_tables
from declutch.coupling.over_training import training_figure
from declutch.coupling.population_table import table_of_cosines
from declutch.coupling.run_tables import (
    behaviour_curves,
    behaviour_table,
    judge_tables,
    length_table,
    num_actions,
    repeats_by_outcome,
    share_sheet,
    shares_of_flaws,
    success_curves,
    success_table,
    time_table,
)
from declutch.coupling.theory.portraits import parabola
from declutch.ground.errors import UserError, nearest
from declutch.report.coupling import coupling_sheet
from declutch.report.sheet import Cell, Sheet, SheetRow, words
from declutch.runs.folder import RunFolder
from declutch.runs.read import RunData, read_run

Made = tuple[list[Sheet], list[FigureData]]
NOTE = "made.json"


@dataclass(frozen=True)
class PaperItem:
    """A table or figure of the papers: what it shows, and what makes it here.

    Attributes:
        id: paper, letter and number, such as "GC-T1".
        title: what it shows.
        needs: the runs it is made of, in words; "" for none.
        command: the command that makes what it shows, in full or with RUN for a run.
        make: makes it of runs; None where another command does, or where it is a drawing.
        make_of: makes it of folders that need not be runs, in the place of `make`.
        is_drawing: it shows no measurement.
    """

    id: str
    title: str
    needs: str
    command: str
    make: Callable[[Sequence[RunData]], Made] | None = None
    make_of: Callable[[Sequence[Path]], Made] | None = None
    is_drawing: bool = False


def _success(runs: Sequence[RunData]) -> Made:
    return [success_table(runs)], [success_curves(runs)]


def _behaviour(runs: Sequence[RunData]) -> Made:
    curve = behaviour_curves(runs, "flaws", "repeated or looped actions, %", shares_of_flaws)
    return [behaviour_table(runs), share_sheet(curve)], [curve]


def _repetition(runs: Sequence[RunData]) -> Made:
    curve = behaviour_curves(runs, "repetition", "repeated actions, %", repeats_by_outcome)
    return [behaviour_table(runs), share_sheet(curve)], [curve]


def _actions(runs: Sequence[RunData]) -> Made:
    curve = behaviour_curves(runs, "actions", "actions per episode", num_actions)
    return [share_sheet(curve)], [curve]


def _lengths(runs: Sequence[RunData]) -> Made:
    return [length_table(runs)], []


def _times(runs: Sequence[RunData]) -> Made:
    return [time_table(runs)], []


def _judging(runs: Sequence[RunData]) -> Made:
    return judge_tables(runs), []


def _parabola(runs: Sequence[RunData]) -> Made:
    data = parabola()
    return [share_sheet(data)], [data]


def _cosines_over_training(runs: Sequence[RunData]) -> Made:
    lacking = [run.name for run in runs if not run.coupling]
    if lacking:
        raise UserError(
            f"{', '.join(lacking)} measured no coupling; train with coupling.every=10, or measure "
            "the checkpoints with `declutch coupling gradients RUN --every-checkpoint`"
        )
    sheets = [replace(coupling_sheet(run.coupling), title=run.name) for run in runs]
    return sheets, [training_figure([(run.name, run.coupling) for run in runs])]


METHODS = "runs of the methods that are compared, such as those of `declutch compare`"
BOTH = "a run of GRPO and one of GRPO + GCD"
ITEMS: tuple[PaperItem, ...] = (
    PaperItem(
        "GC-F1", "success in and out of domain", "one run", "declutch paper GC-F1 RUN", _success
    ),
    PaperItem(
        "GC-F2",
        "case studies of failures on unseen types",
        "a run with saved episodes",
        "declutch coupling cases RUN",
    ),
    PaperItem(
        "GC-F3",
        "influence of a step on one action on the others",
        "a model and samples of a run",
        "declutch coupling influence MODEL --samples FILE --out FOLDER",
    ),
    PaperItem(
        "GC-T1",
        "cosines of mean gradients, agents and maths",
        "runs with coupling, or what `declutch coupling gradients --out` wrote of ALFWorld, "
        "ScienceWorld and maths",
        "declutch paper GC-T1 FOLDER FOLDER",
        make_of=table_of_cosines,
    ),
    PaperItem(
        "GC-F4",
        "coupling over training with GRPO",
        "a run of GRPO with coupling.every",
        "declutch paper GC-F4 RUN",
        _cosines_over_training,
    ),
    PaperItem("GC-T2", "success of all methods", METHODS, "declutch paper GC-T2 RUN RUN", _success),
    PaperItem(
        "GC-F5",
        "GCD with GiGPO and RLVMR",
        "runs of GiGPO and RLVMR, with and without GCD",
        "declutch paper GC-F5 RUN RUN",
        _success,
    ),
    PaperItem(
        "GC-F6",
        "coupling over training with GCD (3B)",
        "a run of GRPO + GCD with coupling.every",
        "declutch paper GC-F6 RUN",
        _cosines_over_training,
    ),
    PaperItem(
        "GC-F7",
        "tokens that cause the similarity",
        "a model and samples of a run",
        "declutch coupling tokens MODEL --samples FILE --pair A B --out FOLDER",
    ),
    PaperItem("GC-T3", "time with and without GCD", BOTH, "declutch paper GC-T3 RUN RUN", _times),
    PaperItem(
        "GC-T4",
        "accuracy of judging on L0, L1, L2",
        "a run of GRPO + GCD evaluated with eval.judge=true",
        "declutch paper GC-T4 RUN",
        _judging,
    ),
    PaperItem("GC-T5", "response length", BOTH, "declutch paper GC-T5 RUN RUN", _lengths),
    PaperItem(
        "GC-T6",
        "success with different cold starts",
        "runs from different cold starts",
        "declutch paper GC-T6 RUN RUN",
        _success,
    ),
    PaperItem(
        "GC-F8", "repeated or looped actions", BOTH, "declutch paper GC-F8 RUN RUN", _behaviour
    ),
    PaperItem("GC-F9", "the pipeline of GCD", "", "", is_drawing=True),
    PaperItem(
        "GC-F10",
        "coupling over training with GCD (7B)",
        "a run of GRPO + GCD with coupling.every",
        "declutch paper GC-F10 RUN",
        _cosines_over_training,
    ),
    PaperItem(
        "RM-F1",
        "consistency of repeated actions",
        "a run and its checkpoints",
        "declutch coupling behaviour RUN --out FOLDER",
    ),
    PaperItem(
        "RM-F2",
        "repetition in won and lost episodes",
        "one run",
        "declutch paper RM-F2 RUN",
        _repetition,
    ),
    PaperItem(
        "RM-F3a",
        "similarity of samples, agents and maths",
        "a model, and samples of ALFWorld and maths",
        "declutch coupling similarity MODEL --samples FILE --out FOLDER",
    ),
    PaperItem(
        "RM-F3b",
        "influence of a step on one action on the others",
        "a model and samples of a run",
        "declutch coupling influence MODEL --samples FILE --out FOLDER",
    ),
    PaperItem("RM-F4", "the advantage as a parabola", "", "declutch paper RM-F4", _parabola),
    PaperItem(
        "RM-F5",
        "consistency of good and bad actions",
        "a run and its checkpoints",
        "declutch coupling behaviour RUN --out FOLDER",
    ),
    PaperItem("RM-F6", "training the model as a critic", "", "", is_drawing=True),
    PaperItem("RM-T1", "success of all methods", METHODS, "declutch paper RM-T1 RUN RUN", _success),
    PaperItem(
        "RM-F7",
        "success with different cold starts and settings",
        "runs from different cold starts, with and without GCD",
        "declutch paper RM-F7 RUN RUN",
        _success,
    ),
    PaperItem(
        "RM-F8",
        "gap of token coupling over training",
        "a run and its checkpoints",
        "declutch coupling tokens MODEL --samples FILE --out FOLDER",
    ),
    PaperItem(
        "RM-F9",
        "tokens that cause the similarity",
        "a model and samples of a run",
        "declutch coupling tokens MODEL --samples FILE --pair A B --out FOLDER",
    ),
    PaperItem(
        "RM-T2",
        "success on L2 without a cold start",
        "runs that began without a cold start",
        "declutch paper RM-T2 RUN RUN",
        _success,
    ),
    PaperItem(
        "RM-T3",
        "cold starts with generative and value-head classifiers, and NTHR",
        "runs from different cold starts, and a run of NTHR",
        "declutch paper RM-T3 RUN RUN",
        _success,
    ),
    PaperItem(
        "RM-F10a", "number of actions on L2", BOTH, "declutch paper RM-F10a RUN RUN", _actions
    ),
    PaperItem(
        "RM-F10b",
        "distance of layers between cold starts",
        "two models and samples",
        "declutch coupling layers MODEL_A MODEL_B --samples FILE --out FOLDER",
    ),
    PaperItem("RM-F11", "learning curves", METHODS, "declutch paper RM-F11 RUN RUN", _success),
    PaperItem(
        "RM-T4",
        "time and success with and without GCD",
        BOTH,
        "declutch paper RM-T4 RUN RUN",
        _times,
    ),
)
"""Every table (T) and figure (F) of GC and RM, in the order of the papers."""


def find_item(name: str) -> PaperItem:
    """Find an item of the papers by its id, such as "GC-T1". Raises UserError."""
    for item in ITEMS:
        if item.id.lower() == name.lower():
            return item
    known = tuple(item.id for item in ITEMS)
    raise UserError(
        f"no table or figure {name!r}{nearest(name, known)}; `declutch paper` lists them"
    )


def paper_sheet(folder: Path) -> Sheet:
    """What there is in the papers, as a table: the command that makes each item, and its state.

    Args:
        folder: where `make_item` writes.
    """
    rows = [
        SheetRow((Cell(item.id), Cell(item.title), Cell(item.command or "–"), _state(item, folder)))
        for item in ITEMS
    ]
    columns = (words("id"), words("shows"), words("command"), words("state"))
    made = sum(row.cells[-1].text.startswith("made") for row in rows)
    notes = (
        f"{made} of {len(rows)} are made in {folder}. RUN is a run folder of `declutch train`, "
        "MODEL a model folder, FILE labelled samples as JSONL.",
    )
    return Sheet("Tables and figures of GC and RM", columns, tuple(rows), notes=notes)


def _state(item: PaperItem, folder: Path) -> Cell:
    if item.is_drawing:
        return Cell("a drawing, nothing to measure", tone="dim")
    made = read_note(item, folder)
    if made is not None:
        source = ", ".join(made) if made else "no run"
        return Cell(f"made from {source}", tone="up")
    return Cell(f"not yet made; needs {item.needs or 'nothing'}")


def read_note(item: PaperItem, folder: Path) -> list[str] | None:
    """The runs that a table or figure of the papers was made from; None where it was not made."""
    path = folder / item.id / NOTE
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    runs = data.get("runs") if isinstance(data, dict) else None
    return [str(run) for run in runs] if isinstance(runs, list) else None


def make_item(item: PaperItem, runs: Sequence[Path], folder: Path, command: str) -> list[Sheet]:
    """Make one of the papers' tables or figures from runs, in a folder of its own below `folder`.

    Args:
        command: what was typed, for captions.
    Returns:
        Its tables.
    Raises:
        UserError: runs that are not there or too few, or an item that another command makes.
    """
    if item.is_drawing:
        raise UserError(f"{item.id} ({item.title}) is a drawing; there is nothing to measure")
    if item.make is None and item.make_of is None:
        raise UserError(f"{item.id} needs {item.needs}; `{item.command}` makes it")
    if item.needs and not runs:
        raise UserError(f"{item.id} needs {item.needs}: `{item.command}`")
    if runs and not item.needs:
        raise UserError(f"{item.id} is made without runs: `{item.command}`")
    if item.make is not None:
        sheets, figures = item.make([read_run(RunFolder(run)) for run in runs])
    else:
        assert item.make_of is not None
        sheets, figures = item.make_of(runs)
    place = folder / item.id
    write_tables(place, item.id, sheets)
    write_figures(place, [replace(each, command=command) for each in figures])
    names = [str(run) for run in runs]
    write_json(place / NOTE, {"id": item.id, "runs": names, "command": command})
    return [sheet for sheet in sheets if not sheet.is_detail]

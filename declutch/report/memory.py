"""Table of the memory that a run is estimated to take, and of the settings with which it fits."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.learner.memory import MemoryEstimate, Phase
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, Tone, words

GIB = 1 << 30
_PHASES: dict[Phase, str] = {
    "always": "always",
    "learning": "while it learns",
    "sampling": "while it samples",
    "probing": "while it looks at the reference",
}


def memory_sheet(title: str, estimate: MemoryEstimate, notes: Sequence[str] = ()) -> Sheet:
    """Report table of an estimate of memory: a row for each part, and each phase's sum below.

    Args:
        title: of what it is.
        notes: sentences below it.
    """
    rows = []
    for part in estimate.parts:
        when = Cell(_PHASES[part.phase], detail=part.note)
        rows.append(SheetRow((Cell(part.name), _gibibytes(part.num_bytes), when)))
    phases = dict.fromkeys(part.phase for part in estimate.parts if part.phase != "always")
    for phase in phases:
        tone: Tone = "warn" if phase == estimate.worst_phase else ""
        sum_of = Cell(_PHASES[phase], tone=tone)
        cells = (Cell("in all"), _gibibytes(estimate.total(phase)), sum_of)
        rows.append(SheetRow(cells, "main"))
    columns = (words("memory"), Column("size", "GiB"), words("when"))
    return Sheet(title, columns, tuple(rows), notes=tuple(notes))


def _gibibytes(num_bytes: int) -> Cell:
    value = num_bytes / GIB
    return Cell(f"{value:.1f}" if value >= 0.95 else f"{value:.2f}", value)

"""Write what a diagnostic of coupling found into a folder: tables, and its numbers as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from declutch.ground.files import write_atomically
from declutch.report.drawers.csv import draw_csv
from declutch.report.drawers.markdown import draw_markdown
from declutch.report.sheet import Sheet


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write the numbers that a diagnostic of coupling found as JSON, null where there is none.

    Raises:
        UserError: the file cannot be written.
    """
    write_atomically(path, json.dumps(_without_nan(data), allow_nan=False) + "\n")


def write_tables(folder: Path, stem: str, sheets: Sequence[Sheet]) -> None:
    """Write the tables of a diagnostic of coupling: one Markdown file, and a CSV file for each.

    Raises:
        UserError: a file cannot be written.
    """
    write_atomically(folder / f"{stem}.md", "\n".join(map(draw_markdown, sheets)))
    for number, sheet in enumerate(sheets):
        name = stem if number == 0 else f"{stem}_{number + 1}"
        write_atomically(folder / f"{name}.csv", draw_csv(sheet))


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return value

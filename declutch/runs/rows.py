"""Rows of a run's metrics as lines of text: written with a checksum, read as a row or as damaged.

A row lacks keys that do not apply to its iteration, so only a checksum tells a row that lost a key
from one that never had it. It covers the names of all keys, and all values but those under `time/`,
so that two runs of one seed have equal checksums.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from declutch.ground.contents import parse_json
from declutch.runs.catalogue import current_key

CHECKSUM = "sha256"
_TIMES = "time"
"""The section of the metrics that differs between two runs of one seed."""


@dataclass(frozen=True)
class Row:
    """One of the rows of a run's `metrics.jsonl`, as far as it could be read.

    Attributes:
        iteration: counted from 1.
        line: as it stands in the file, without its end.
        values: numbers by the keys in use today; None for what is no finite number.
        odd: keys whose values are neither numbers nor null.
    """

    iteration: int
    line: str
    values: dict[str, float | None]
    odd: tuple[str, ...] = ()


def write_row(metrics: Mapping[str, float]) -> str:
    """Write a row of metrics as one line of JSON with its checksum, without the line's end."""
    return json.dumps({**metrics, CHECKSUM: _digest(metrics)})


def read_row(line: bytes) -> Row | None:
    """Read a line of metrics.

    Returns:
        None where it is no row, or not the row any more that its checksum belongs to. Lines of
        former versions have no checksum.
    """
    try:
        data = parse_json(line)
        text = line.decode("utf-8")
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    stated = data.pop(CHECKSUM, None)
    number = data.get("iteration")
    if type(number) is not int or number < 1:
        return None
    if stated is not None and stated != _digest(data):
        return None
    values = {
        current_key(key): value if math.isfinite(value) else None
        for key, value in data.items()
        if _is_number(value)
    }
    # Rows with a checksum were never written with null; a time, which it does not cover, may be.
    is_former = stated is None
    odd = tuple(
        key
        for key, value in data.items()
        if not (_is_number(value) or (value is None and is_former))
    )
    return Row(number, text, values, odd)


def _digest(metrics: Mapping[str, Any]) -> str:
    """Of names and values; JSON writes a number that it has read as it was written before."""
    shown = [
        [key, None if key.partition("/")[0] == _TIMES else metrics[key]] for key in sorted(metrics)
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

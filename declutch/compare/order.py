"""The order of methods in a comparison's tables, which belongs to its folder, baseline first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from declutch.ground.contents import parse_json, read_text
from declutch.ground.errors import UserError
from declutch.ground.files import write_atomically

ORDER_FILE = "order.json"
_KEY = "methods"


def read_order(out: Path) -> tuple[str, ...]:
    """Read the order of a comparison's methods, the baseline first; () where none is on record.

    Raises:
        UserError: the file is damaged.
    """
    path = out / ORDER_FILE
    if not path.is_file():
        return ()
    try:
        found = parse_json(read_text(path))
        methods = found.get(_KEY) if isinstance(found, dict) else None
        if not isinstance(methods, list) or not all(isinstance(name, str) for name in methods):
            raise ValueError(f"it holds no list {_KEY!r} of names")
    except ValueError as error:
        raise UserError(
            f"{path} does not say in which order methods stand in the tables ({error}); delete it, "
            "and give the order anew with --methods"
        ) from None
    return tuple(dict.fromkeys(methods))


def extend_order(out: Path, methods: Sequence[str]) -> tuple[str, ...]:
    """Add methods to a comparison's order, behind those that the folder has already; write it.

    The first command that trains in a folder decides which method is the baseline. Later ones do
    not change the sign of a difference.
    """
    before = read_order(out)
    after = tuple(dict.fromkeys([*before, *methods]))
    if after != before:
        write_order(out, after)
    return after


def choose_baseline(out: Path, baseline: str, present: Sequence[str]) -> tuple[str, ...]:
    """Make a method the baseline of a comparison, by putting it first in the folder's order.

    Args:
        present: the methods of the folder in their order so far.
    Raises:
        UserError: it is none of them.
    """
    if baseline not in present:
        raise UserError(
            f"--baseline {baseline!r} is no method of {out}; there are {', '.join(present)}"
        )
    order = tuple(dict.fromkeys([baseline, *read_order(out), *present]))
    write_order(out, order)
    return order


def write_order(out: Path, methods: Sequence[str]) -> None:
    """Write the order of a comparison's methods into its folder, as a whole or not at all."""
    write_atomically(out / ORDER_FILE, json.dumps({_KEY: list(methods)}) + "\n")

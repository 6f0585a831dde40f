"""Compiled games kept on disk by the content of their files, for any number of processes."""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

from declutch.envs.alfworld.world import Goal, State, Wanted, World
from declutch.ground.errors import UserError

CACHE_VERSION = 1
"""Part of every entry's name: raise it whenever `World` or its meaning changes."""

_PLAIN_FIELDS = tuple(each.name for each in fields(World) if each.name not in ("goal", "start"))


def entry_path(content: bytes, cache_dir: Path) -> Path:
    """The file of the game cache that keeps a compiled ALFWorld game, by its content."""
    # marshal's format may change with the interpreter, so its version is part of the name too.
    python = f"{sys.version_info.major}{sys.version_info.minor}"
    digest = hashlib.sha256(content).hexdigest()
    return cache_dir / f"v{CACHE_VERSION}-py{python}" / digest[:2] / f"{digest[2:]}.world"


def read_entry(entry: Path) -> World | None:
    """Read a compiled ALFWorld game from the game cache; None where it is absent or damaged."""
    try:
        blob = entry.read_bytes()
    except OSError:
        return None
    payload = blob[4:]
    if len(blob) < 4 or int.from_bytes(blob[:4], "big") != zlib.crc32(payload):
        return None
    try:
        return _unpack(marshal.loads(payload))
    except (ValueError, TypeError, EOFError):
        return None


def write_entry(entry: Path, world: World) -> None:
    """Keep a compiled ALFWorld game in the game cache. Raises UserError if it cannot be written."""
    payload = marshal.dumps(_pack(world))
    blob = zlib.crc32(payload).to_bytes(4, "big") + payload
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=entry.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(blob)
            os.replace(temporary, entry)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write the compiled game {entry}: {error.strerror}; free some space there or "
            "choose another cache directory"
        ) from error


def _pack(world: World) -> tuple[Any, ...]:
    """The world as nested plain tuples, which is all that marshal takes."""
    values = [getattr(world, name) for name in _PLAIN_FIELDS]
    goal = world.goal
    parts = [*goal.placed, *(each for each in (goal.held, goal.lamp) if each is not None)]
    wanted = tuple((each.objects, each.qualities) for each in parts)
    shape = (len(goal.placed), goal.held is not None, goal.lamp is not None)
    return (*values, (wanted, shape, goal.receptacles), tuple(world.start))


def _unpack(packed: tuple[Any, ...]) -> World:
    *values, (wanted, shape, receptacles), start = packed
    parts = [Wanted(objects, qualities) for objects, qualities in wanted]
    num_placed, has_held, has_lamp = shape
    rest = parts[num_placed:]
    goal = Goal(
        placed=tuple(parts[:num_placed]),
        receptacles=receptacles,
        held=rest[0] if has_held else None,
        lamp=rest[-1] if has_lamp else None,
    )
    plain = dict(zip(_PLAIN_FIELDS, values, strict=True))
    return World(**plain, goal=goal, start=State(*start))

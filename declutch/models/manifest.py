"""The manifest of a model folder: sizes and SHA-256 of its files, checked whenever it is loaded.

A flipped byte in weights loads like any other number and trains on. What we write therefore says
what it was, in `manifest.json`; a folder from elsewhere has none and is loaded as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from declutch.ground.contents import parse_record, read_text
from declutch.ground.errors import UserError

MANIFEST_FILE = "manifest.json"
FORMAT = "declutch-manifest-1"
_THREADS = 4


@dataclass(frozen=True)
class FileEntry:
    """An entry of a model folder's manifest: how long a file is, and its SHA-256 in hexadecimal."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The manifest of a model folder that we wrote.

    Attributes:
        files: what the model is loaded from, by name.
        further: what lies beside it, such as a checkpoint's state of training.
        shapes: shapes of the tensors of that state, by name.
    """

    files: Mapping[str, FileEntry]
    further: Mapping[str, FileEntry] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    format: str = FORMAT


def write_manifest(
    folder: Path, further: Collection[str], shapes: Mapping[str, Sequence[int]]
) -> None:
    """Write the manifest of a model folder that is otherwise complete.

    Args:
        further: names of the files that a model is not loaded from.
        shapes: of the tensors in them, by name.
    """
    entries = {
        path.relative_to(folder).as_posix(): _describe(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = Manifest(
        {name: entry for name, entry in entries.items() if name not in further},
        {name: entry for name, entry in entries.items() if name in further},
        {name: tuple(shape) for name, shape in shapes.items()},
    )
    text = json.dumps(asdict(manifest), indent=1) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a model folder; None where it has none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        return None
    try:
        manifest = parse_record(Manifest, read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; {_remedy(path)}") from None
    if manifest.format != FORMAT:
        raise UserError(
            f"{path} has the format {manifest.format!r}, this version reads {FORMAT!r}; "
            f"{_remedy(path)}"
        )
    return manifest


def check_model_files(folder: Path) -> None:
    """Check the files that a model is loaded from against its folder's manifest, if it has one.

    Raises:
        UserError: a file is missing or holds something else than was written.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        _check(folder, manifest.files)


def check_further_file(folder: Path, name: str) -> Manifest | None:
    """Check one file beside a model's weights against the folder's manifest, if it has one.

    Returns:
        The manifest, None where there is none.
    Raises:
        UserError: the file is missing or holds something else than was written.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        if name not in manifest.further:
            path = folder / MANIFEST_FILE
            raise UserError(f"{path} does not name {name}, which lies beside it; {_remedy(path)}")
        _check(folder, {name: manifest.further[name]})
    return manifest


def _check(folder: Path, entries: Mapping[str, FileEntry]) -> None:
    remedy = _remedy(folder / MANIFEST_FILE)
    for name, entry in entries.items():
        path = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{folder / MANIFEST_FILE} names {name!r}, which is no file beside it")
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise UserError(f"{folder} is damaged: {name} is missing; {remedy}")
        if size != entry.num_bytes:
            raise UserError(
                f"{path} is damaged: it has {size} bytes, but {entry.num_bytes} were written; "
                f"{remedy}"
            )
    with ThreadPoolExecutor(_THREADS) as pool:
        paths = [folder / name for name in entries]
        for path, found, entry in zip(
            paths, pool.map(_describe, paths), entries.values(), strict=True
        ):
            if found != entry:
                raise UserError(
                    f"{path} is damaged: its SHA-256 is not the one that was written; {remedy}"
                )


def _describe(path: Path) -> FileEntry:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileEntry(file.tell(), digest)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def _remedy(path: Path) -> str:
    return (
        "take an earlier checkpoint or a copy, or, if you changed the folder yourself and mean it, "
        f"delete {path}"
    )

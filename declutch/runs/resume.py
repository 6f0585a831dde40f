"""Where a run folder goes on from: whether its parts agree, and how it is brought back to a point.

A checkpoint is the one commit point of its iteration. Episodes, advice and evaluations are written
before it, it holds the iteration's metrics itself, and their line in `metrics.jsonl` follows. So
whatever is later than the last checkpoint is done again, and nothing earlier may be missing. A
folder in which something is missing has lost it in some other way than by a run that died: it is
left as it is, with one message that names what is missing and how to go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from declutch.ground.errors import UserError, error_reason
from declutch.ground.files import advise, remove_leftovers, write_atomically
from declutch.runs.catalogue import key_of
from declutch.runs.folder import (
    CHECKPOINT_NAME,
    PARTS,
    ROW_FILE,
    RunFolder,
    iteration_name,
)
from declutch.runs.lock import LOCK_FILE
from declutch.runs.rows import Row, read_row

EVALUATED, SAVED = key_of("time", "eval"), key_of("time", "save")
"""Metrics that only rows of iterations have that were evaluated, or that were saved."""
_SHOWN = 5
"""How many missing things or checkpoints a message names."""


@dataclass(frozen=True)
class ResumePoint:
    """The point that a run folder is resumed from, with all that belongs to it in place.

    Attributes:
        iteration: after which training goes on; 0 for the beginning.
        checkpoint: its folder; None for the beginning.
        rows: the metrics up to there, complete.
        num_again: iterations on record that are done again.
    """

    iteration: int
    checkpoint: Path | None
    rows: tuple[Row, ...]
    num_again: int


def find_resume_point(run: RunFolder) -> ResumePoint:
    """Find where a run folder is resumed from, and make sure that all before it is there.

    Nothing is changed.

    Raises:
        UserError: parts of the folder do not agree; the message names what is missing and the
            commands that would go on.
    """
    rows, problems = _read_rows(run)
    iteration, checkpoint = _last_checkpoint(run)
    known = {row.iteration: row for row in rows}
    if len(known) < len(rows):
        problems.append(f"{run.metrics_path.name} has several rows of one iteration")
    if checkpoint is not None and iteration not in known:
        row = _row_of(checkpoint)
        if row is not None and row.iteration == iteration:
            known[iteration] = row
    problems += _missing_checkpoints(run, known, iteration)
    missing = Missing.of(run, known, iteration)
    problems += missing.less(read_missing(run)).words(run)
    last = max(known, default=0)
    problems += [
        f"{run.relative(path)} is there, but {run.metrics_path.name} has no row of its iteration"
        for number, path in run.numbered()
        if number > max(last, iteration) + 1
    ]
    if problems:
        raise UserError(_describe(run, problems))
    kept = tuple(known[number] for number in sorted(known) if number <= iteration)
    return ResumePoint(iteration, checkpoint, kept, max(last - iteration, 0))


def rewind(run: RunFolder, point: ResumePoint) -> None:
    """Bring a run folder to the point it is resumed from; what is done again is deleted.

    Raises:
        UserError: the folder cannot be written.
    """
    clean_up(run)
    # The rows go last: without them, what else there is of their iterations would look strange.
    run.delete(path for number, path in run.numbered() if number > point.iteration)
    text = "".join(f"{row.line}\n" for row in point.rows)
    before = run.metrics_path.read_bytes() if run.metrics_path.exists() else b""
    if text.encode() != before:
        write_atomically(run.metrics_path, text)


def go_back(run: RunFolder, iteration: int) -> Path | None:
    """Bring a run folder back to one of its checkpoints; what came later is moved aside.

    What is missing of the iterations before is noted, and is not asked for any more.

    Args:
        iteration: of the checkpoint; 0 for the beginning.
    Returns:
        Where the later parts are now; None where there were none.
    Raises:
        UserError: there is no such checkpoint, or the folder cannot be written.
    """
    known = [0, *(number for number, _ in run.checkpoints())]
    if iteration not in known:
        raise UserError(
            f"{run.path} has no checkpoint of iteration {iteration} to go on from; there are "
            f"{', '.join(map(str, known))}, where 0 is the beginning"
        )
    clean_up(run)
    rows, problems = _read_rows(run)
    first = {row.iteration: row for row in reversed(rows)}
    checkpoint = run.checkpoint_path(iteration)
    if iteration and iteration not in first and (row := _row_of(checkpoint)) is not None:
        first[iteration] = row
    later = [path for number, path in run.numbered() if number > iteration]
    later += [path for number, path in run.checkpoint_folders() if number > iteration]
    kept = [first[number] for number in sorted(first) if number <= iteration]
    is_cut = bool(problems) or [row.line for row in kept] != [row.line for row in rows]
    aside = run.aside_path / _stamp(run.aside_path, "")
    try:
        for path in later:
            place = aside / path.relative_to(run.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
        if is_cut and run.metrics_path.exists():
            aside.mkdir(parents=True, exist_ok=True)
            shutil.copy2(run.metrics_path, aside / run.metrics_path.name)
    except OSError as error:
        raise UserError(
            f"cannot move later parts of {run.path} aside: {error_reason(error)}; {advise(error)}"
        ) from None
    missing = Missing.of(run, {row.iteration: row for row in kept}, iteration)
    if missing != read_missing(run):
        write_atomically(run.missing_path, json.dumps(vars(missing), indent=1) + "\n")
    if is_cut:
        write_atomically(run.metrics_path, "".join(f"{row.line}\n" for row in kept))
    return aside if later or is_cut else None


def move_aside(run: RunFolder) -> Path:
    """Instead of a resume, move the run folder to a dated name, so that a run can start anew.

    Returns:
        Where it is now.
    Raises:
        UserError: it cannot be moved.
    """
    name = run.path.resolve().name
    place = run.path.resolve().with_name(_stamp(run.path.resolve().parent, f"{name}-"))
    try:
        run.path.resolve().rename(place)
    except OSError as error:
        raise UserError(
            f"cannot move {run.path} to {place}: {error_reason(error)}; choose another folder for "
            "the new run"
        ) from None
    with contextlib.suppress(OSError):
        (place / LOCK_FILE).unlink()
    return place


def clean_up(run: RunFolder) -> None:
    """Before a resume, remove from a run folder what killed processes left half written.

    Raises:
        UserError: something cannot be removed.
    """
    for folder in (run.path, *(run.path / part for part in PARTS)):
        remove_leftovers(folder, lambda name: CHECKPOINT_NAME.fullmatch(name) is not None)


@dataclass(frozen=True)
class Missing:
    """What a run folder lacks of the iterations before the point that it is resumed from.

    Attributes:
        rows: iterations without a row of metrics.
        files: evaluations and what was made of advice, as paths in the folder.
    """

    rows: tuple[int, ...] = ()
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunFolder, known: Mapping[int, Row], iteration: int) -> Missing:
        """What is missing of a run folder.

        Args:
            known: its rows of metrics by iteration.
            iteration: the point that it is to be resumed from.
        """
        last = max((iteration, *known))
        rows = tuple(number for number in range(1, last + 1) if number not in known)
        files = (path for path in _expected(run, known, iteration) if not path.exists())
        return cls(rows, tuple(run.relative(path) for path in files))

    def less(self, other: Missing) -> Missing:
        """What is missing besides what was missing before."""
        rows = (number for number in self.rows if number not in other.rows)
        return Missing(tuple(rows), tuple(name for name in self.files if name not in other.files))

    def words(self, run: RunFolder) -> list[str]:
        """What is missing in words, for the message."""
        words = [f"{name} is missing" for name in self.files]
        if self.rows:
            is_one = len(self.rows) == 1
            rows = f"the row of iteration {self.rows[0]} is"
            if not is_one:
                rows = f"the rows of iterations {_ranges(self.rows)} are"
            words.insert(0, f"{rows} missing in {run.metrics_path.name}")
        return words


def read_missing(run: RunFolder) -> Missing:
    """Read what a run folder is known to lack, since somebody decided to go on without it.

    Raises:
        UserError: the file is damaged.
    """
    if not run.missing_path.exists():
        return Missing()
    try:
        data = json.loads(run.missing_path.read_bytes())
        return Missing(tuple(map(int, data["rows"])), tuple(map(str, data["files"])))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(
            f"{run.missing_path} cannot be read ({error_reason(error)}): delete it, and what is "
            "missing in the run is told again"
        ) from None


def _expected(run: RunFolder, known: Mapping[int, Row], iteration: int) -> Iterator[Path]:
    """Files that must be there by what the rows say; the last evaluation can be made again."""
    if iteration > 0:
        yield run.evaluation_path(iteration_name(0))
    for number in sorted(known):
        if number > iteration:
            break
        keys = known[number].values
        if number < iteration and EVALUATED in keys:
            yield run.evaluation_path(iteration_name(number))
        if key_of("suggestions", "num_advice") in keys:
            yield run.advice_path(number)
        if key_of("suggestions", "num_themes") in keys:
            yield run.suggestions_path(number)


def _read_rows(run: RunFolder) -> tuple[list[Row], list[str]]:
    """All rows of the metrics but a last one that is cut off, and what is wrong with others."""
    path = run.metrics_path
    if not path.exists():
        return [], []
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error_reason(error)}") from None
    # A power cut can leave zeros where the last line was to be.
    lines = data.rstrip(b"\0\n").split(b"\n")
    rows, problems = [], []
    for number, line in enumerate(lines, start=1):
        row = read_row(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            problems.append(f"line {number} of {path.name} is damaged")
    return rows, problems


def _row_of(checkpoint: Path) -> Row | None:
    """The row of metrics that a checkpoint holds itself; None for those of former versions."""
    try:
        return read_row((checkpoint / ROW_FILE).read_bytes().strip())
    except OSError:
        return None


def _last_checkpoint(run: RunFolder) -> tuple[int, Path | None]:
    found = run.checkpoints()
    return found[-1] if found else (0, None)


def _missing_checkpoints(run: RunFolder, known: Mapping[int, Row], iteration: int) -> Iterator[str]:
    """Checkpoints later than the last complete one that there must have been."""
    saved = {number for number, row in known.items() if SAVED in row.values}
    folders = dict(run.checkpoint_folders())
    for number in sorted(saved | set(folders)):
        if number <= iteration:
            continue
        path = run.relative(run.checkpoint_path(number))
        if number in folders:
            yield f"{path} is no whole checkpoint any more: it lacks its state of training"
        elif number == max(saved):
            yield f"{path} is missing, the checkpoint of the last iteration that was saved"


def _describe(run: RunFolder, problems: Sequence[str]) -> str:
    shown = "; ".join(problems[:_SHOWN])
    if len(problems) > _SHOWN:
        shown += f"; and {len(problems) - _SHOWN} more"
    numbers = [number for number, _ in run.checkpoints()]
    commands = f"`{run.restart}` moves the whole folder aside and starts the run anew"
    if numbers:
        others = ", ".join(map(str, numbers[-_SHOWN:]))
        commands = (
            f"`{run.command('--from', str(numbers[-1]))}` goes on from an existing checkpoint "
            f"(there are {others}) and moves what came later aside; {commands}"
        )
    return f"{run.path} cannot be resumed: {shown}. Nothing was changed. {commands}"


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in order as "1, 3–5"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in spans)


def _stamp(folder: Path, start: str) -> str:
    """A name that says when it is, and that nothing in the folder has."""
    name = f"{start}{datetime.now():%Y%m%d-%H%M%S}"
    others = set(os.listdir(folder)) if folder.is_dir() else set()
    count, chosen = 1, name
    while chosen in others:
        count += 1
        chosen = f"{name}-{count}"
    return chosen

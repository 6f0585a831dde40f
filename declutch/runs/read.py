"""Read a run folder back as data, whatever state it is in; what is missing becomes a note."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from declutch.config.files import read_dumped
from declutch.evaluation.results import EvalResult, load_result
from declutch.ground.contents import parse_json, read_text
from declutch.ground.errors import UserError
from declutch.runs.coupling import CouplingRecord, read_coupling
from declutch.runs.folder import CONTROL, RunFolder, iteration_name, iteration_of
from declutch.runs.rows import read_row
from declutch.runs.versions import Version, read_versions

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation read back from a run folder, and after which iteration; 0 is the cold start."""

    iteration: int
    result: EvalResult


@dataclass(frozen=True)
class RunData:
    """What was read from a run folder, as far as it is there, for the report to show.

    Attributes:
        name: the folder's name.
        config: the run's settings as plain data, {} where there are none.
        config_text: the text of their file.
        metrics: one mapping per iteration, in order; None for numbers that are not finite.
        evaluations: by iteration, in order.
        control: more SFT for the time the training took, where it was evaluated.
        others: further evaluations by name.
        facts: what files say of the cold start, by file name.
        suggestions: the versions of the suggestions in training prompts, in order.
        coupling: gradient cosines by iteration, in order, as they were measured.
        episode_files: (iteration, file), in order.
        notes: what is missing or damaged, one sentence each.
    """

    name: str
    config: Mapping[str, Any]
    config_text: str
    metrics: tuple[Metrics, ...]
    evaluations: tuple[Evaluation, ...]
    control: EvalResult | None
    others: Mapping[str, EvalResult]
    facts: Mapping[str, Mapping[str, Any]]
    suggestions: tuple[Version, ...]
    coupling: tuple[CouplingRecord, ...]
    episode_files: tuple[tuple[int, Path], ...]
    notes: tuple[str, ...]

    @property
    def before(self) -> EvalResult | None:
        """The evaluation of a run's cold start, None where it is missing."""
        first = self.evaluations[0] if self.evaluations else None
        return first.result if first and first.iteration == 0 else None

    @property
    def after(self) -> Evaluation | None:
        """A run's last evaluation after training began, which need not be the best one."""
        last = self.evaluations[-1] if self.evaluations else None
        return last if last and last.iteration > 0 else None


def read_run(run: RunFolder) -> RunData:
    """Read everything a run folder holds, as far as the run has come.

    Raises:
        UserError: no such folder, or nothing in it that belongs to a run.
    """
    if not run.path.is_dir():
        raise UserError(f"no run folder {run.path}; give the folder that `declutch train` wrote")
    notes: list[str] = []
    config, config_text = _read_config(run, notes)
    metrics = read_metrics(run, notes)
    results = read_evaluations(run, notes)
    episode_files = run.episode_paths()
    if not (config or metrics or results or episode_files):
        raise UserError(
            f"{run.path} is no run folder: it has neither config.yaml, metrics.jsonl, evals/ nor "
            "episodes/; give the folder that `declutch train` wrote"
        )
    if not episode_files:
        notes.append("No episodes were saved, so there is nothing to browse.")
    data = RunData(
        name=run.path.resolve().name,
        config=config,
        config_text=config_text,
        metrics=metrics,
        evaluations=tuple(Evaluation(*pair) for pair in by_iteration(results).items()),
        control=results.get(CONTROL),
        others={
            name: result
            for name, result in sorted(results.items())
            if name != CONTROL and iteration_of(name) is None
        },
        facts=_read_facts(run, notes),
        suggestions=read_versions(run, notes),
        coupling=read_coupling(run, notes),
        episode_files=episode_files,
        notes=(),
    )
    return replace(data, notes=(*notes, *_missing_evaluations(data, run)))


def read_metrics(run: RunFolder, notes: list[str]) -> tuple[Metrics, ...]:
    """Read a run folder's metrics, a row for each iteration; what is damaged goes to `notes`."""
    path = run.metrics_path
    if not path.exists():
        notes.append(f"{path.name} is missing, so there are no learning curves.")
        return ()
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        notes.append(f"{path.name} could not be read: {error.strerror}.")
        return ()
    while lines and not lines[-1].strip():
        lines.pop()
    rows: dict[int, Metrics] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = read_row(line)
        if row is not None:
            rows[row.iteration] = row.values
            if row.odd:
                notes.append(f"Line {number} of {path.name} holds no number for {row.odd[0]!r}.")
        elif number == len(lines):
            notes.append(f"The last line of {path.name} is cut off or damaged and was left out.")
        else:
            notes.append(f"Line {number} of {path.name} is damaged and was left out.")
    if not rows:
        notes.append(f"{path.name} holds no finished iteration yet.")
    missing = next((number for number, own in enumerate(sorted(rows), 1) if own != number), None)
    if missing is not None and not any("was left out" in note for note in notes):
        notes.append(f"{path.name} lacks iteration {missing}, but has later ones.")
    return tuple(rows[iteration] for iteration in sorted(rows))


def read_evaluations(run: RunFolder, notes: list[str]) -> dict[str, EvalResult]:
    """Read a run folder's evaluations by name; damaged ones go to `notes`."""
    results = {}
    for file in run.evaluation_paths():
        try:
            results[file.stem] = load_result(file)
        except UserError as error:
            notes.append(f"An evaluation was left out: {error}.")
    return results


def by_iteration(results: Mapping[str, EvalResult]) -> dict[int, EvalResult]:
    """Sort evaluations read from a run folder by iteration; other names are left out."""
    numbered = {
        iteration: result
        for name, result in results.items()
        if (iteration := iteration_of(name)) is not None
    }
    return dict(sorted(numbered.items()))


def _read_config(run: RunFolder, notes: list[str]) -> tuple[dict[str, Any], str]:
    file = run.config_path
    if not file.exists():
        notes.append(f"{file.name} is missing, so the settings of the run are not known.")
        return {}, ""
    try:
        return read_dumped(file), read_text(file)
    except UserError as error:
        notes.append(f"{file.name} could not be read: {error}.")
        return {}, ""


def _missing_evaluations(data: RunData, run: RunFolder) -> list[str]:
    notes = []
    if data.before is None:
        first = run.relative(run.evaluation_path(iteration_name(0)))
        notes.append(f"{first} (the cold start) is missing, so there is no comparison.")
    if data.after is None:
        notes.append("There is no evaluation after training yet.")
    if data.control is None:
        control = run.relative(run.evaluation_path(CONTROL))
        notes.append(f"{control} (more SFT for the same time) is missing.")
    return notes


def _read_facts(run: RunFolder, notes: list[str]) -> dict[str, Mapping[str, Any]]:
    facts: dict[str, Mapping[str, Any]] = {}
    for file in run.fact_paths():
        try:
            content = parse_json(read_text(file), is_lenient=True)
        except (UserError, ValueError):
            content = None
        if isinstance(content, dict):
            facts[file.name] = content
        else:
            notes.append(f"{file.name} could not be read.")
    return facts

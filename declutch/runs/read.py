"""A run folder as data, whatever state it is in: what is missing or damaged becomes a note."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from declutch.config.files import read_yaml
from declutch.errors import UserError
from declutch.evaluation.results import EvalResult, load_result
from declutch.runs.versions import Version, read_versions

FACT_FILES = ("demonstrations.json", "cold_start.json")
CONTROL = "control"
_ITERATION = re.compile(r"iteration_(\d+)")

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of the run's own policy; iteration 0 is the cold start."""

    iteration: int
    result: EvalResult


@dataclass(frozen=True)
class RunData:
    """Everything the page shows, as far as the folder has it.

    Attributes:
        name: the folder's name.
        config: config.yaml as plain data, {} where there is none.
        config_text: the file's text.
        metrics: one mapping per iteration, in order; None for numbers that are not finite.
        evaluations: by iteration, in order.
        control: more SFT for the time the training took, where it was evaluated.
        others: further evaluations by name.
        facts: what demonstrations.json and cold_start.json say, by file name.
        suggestions: the versions of the rules in training prompts, in order.
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
    episode_files: tuple[tuple[int, Path], ...]
    notes: tuple[str, ...]

    @property
    def before(self) -> EvalResult | None:
        """The evaluation of the cold start."""
        first = self.evaluations[0] if self.evaluations else None
        return first.result if first and first.iteration == 0 else None

    @property
    def after(self) -> Evaluation | None:
        """The last evaluation after training began; not the best one."""
        last = self.evaluations[-1] if self.evaluations else None
        return last if last and last.iteration > 0 else None


def read_run(path: Path) -> RunData:
    """Read the run folder `path`.

    Raises:
        UserError: no such folder, or nothing in it that belongs to a run.
    """
    if not path.is_dir():
        raise UserError(f"no run folder {path}; give the folder that `declutch train` wrote")
    notes: list[str] = []
    config, config_text = _read_config(path, notes)
    metrics = read_metrics(path / "metrics.jsonl", notes)
    results = read_evaluations(path / "evals", notes)
    episode_files = _find_episodes(path / "episodes", notes)
    if not (config or metrics or results or episode_files):
        raise UserError(
            f"{path} is no run folder: it has neither config.yaml, metrics.jsonl, evals/ nor "
            "episodes/; give the folder that `declutch train` wrote"
        )
    evaluations = tuple(
        Evaluation(iteration, result) for iteration, result in by_iteration(results).items()
    )
    data = RunData(
        name=path.resolve().name,
        config=config,
        config_text=config_text,
        metrics=metrics,
        evaluations=evaluations,
        control=results.get(CONTROL),
        others={
            name: result
            for name, result in sorted(results.items())
            if name != CONTROL and not _ITERATION.fullmatch(name)
        },
        facts=_read_facts(path, notes),
        suggestions=read_versions(path / "suggestions", notes),
        episode_files=episode_files,
        notes=(),
    )
    _note_missing_evaluations(data, notes)
    return RunData(**{**vars(data), "notes": tuple(notes)})


def _read_config(path: Path, notes: list[str]) -> tuple[dict[str, Any], str]:
    file = path / "config.yaml"
    if not file.exists():
        notes.append("config.yaml is missing, so the settings of the run are not known.")
        return {}, ""
    try:
        return read_yaml(file), file.read_text(encoding="utf-8")
    except UserError as error:
        notes.append(f"config.yaml could not be read: {error}.")
        return {}, ""


def read_metrics(path: Path, notes: list[str]) -> tuple[Metrics, ...]:
    """The iterations of a metrics.jsonl, in order; what is missing or damaged goes to `notes`."""
    if not path.exists():
        notes.append("metrics.jsonl is missing, so there are no learning curves.")
        return ()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows: dict[int, Metrics] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _parse_metrics(line)
        if row is not None:
            rows[int(row["iteration"] or 0)] = row
        elif number == len(lines):
            notes.append("The last line of metrics.jsonl is cut off and was left out.")
        else:
            notes.append(f"Line {number} of metrics.jsonl could not be read and was left out.")
    if not rows:
        notes.append("metrics.jsonl holds no finished iteration yet.")
    return tuple(rows[iteration] for iteration in sorted(rows))


def _parse_metrics(line: str) -> Metrics | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("iteration"), int):
        return None
    return {key: finite(value) for key, value in data.items() if is_number(value)}


def is_number(value: object) -> bool:
    """A JSON number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite(value: float) -> float | None:
    """The value, or None where it is no finite number (JSON has no word for those)."""
    return value if math.isfinite(value) else None


def read_evaluations(folder: Path, notes: list[str]) -> dict[str, EvalResult]:
    """The evaluations of a folder by name; damaged ones go to `notes`."""
    results = {}
    for file in sorted(folder.glob("*.json")):
        try:
            results[file.stem] = load_result(file)
        except UserError as error:
            notes.append(f"An evaluation was left out: {error}.")
    return results


def by_iteration(results: Mapping[str, EvalResult]) -> dict[int, EvalResult]:
    """The evaluations of the run's own policy, in order."""
    numbered = {
        int(match[1]): result
        for name, result in results.items()
        if (match := _ITERATION.fullmatch(name))
    }
    return dict(sorted(numbered.items()))


def _note_missing_evaluations(data: RunData, notes: list[str]) -> None:
    if data.before is None:
        notes.append(
            "evals/iteration_0000.json (the cold start) is missing, so there is no comparison."
        )
    if data.after is None:
        notes.append("There is no evaluation after training yet.")
    if data.control is None:
        notes.append("evals/control.json (more SFT for the same time) is missing.")


def _read_facts(path: Path, notes: list[str]) -> dict[str, Mapping[str, Any]]:
    facts: dict[str, Mapping[str, Any]] = {}
    for name in FACT_FILES:
        file = path / name
        if not file.exists():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            notes.append(f"{name} could not be read.")
            continue
        if isinstance(content, dict):
            facts[name] = content
    return facts


def _find_episodes(folder: Path, notes: list[str]) -> tuple[tuple[int, Path], ...]:
    files = [
        (int(match[1]), file)
        for file in folder.glob("*.jsonl")
        if (match := _ITERATION.fullmatch(file.stem))
    ]
    if not files:
        notes.append("No episodes were saved, so there is nothing to browse.")
    return tuple(sorted(files))

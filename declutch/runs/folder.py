"""The folder of a run: the one place that knows where its settings, metrics and checkpoints lie.

    config.yaml                      the settings of the run
    started.yaml                     the same, sealed: what the run was started with
    reference.sha256                 the weights that divergence is measured from, if it is
    tasks.json                       how many tasks there are, and the hash of their list
    cold_start.json                  what the model's cold start was made from
    metrics.jsonl                    one line an iteration
    evals/iteration_0010.json        an evaluation of the run's own policy; others by name
    episodes/iteration_0010.jsonl    some episodes of an iteration in full
    advice/iteration_0010.jsonl      what the judgments of an iteration advised
    suggestions/iteration_0010.json  what was made of the advice so far
    coupling/iteration_0010.json     the gradient cosines of the policy of an iteration
    trackers/                        what the trackers of train.report_to keep
    checkpoints/iteration-00010/     what training continues from, and the iteration's metrics
    report.html                      the page of `declutch report`
    missing.json                     what was lost of the run, and was gone on without
    aside/                           what was moved aside to go on from an earlier checkpoint
    .lock                            who writes here now

A crash at any moment leaves a folder that can be continued: lines are appended whole, files appear
whole, and `runs/resume.py` cuts what came after the last checkpoint.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from declutch.config.files import dump_config, parse_config, read_dumped
from declutch.config.run import Config
from declutch.evaluation.results import EvalResult, save_result
from declutch.ground.errors import UserError, error_reason
from declutch.ground.files import advise, delete_folder, write_atomically
from declutch.learner.checkpoint import is_checkpoint
from declutch.runs.episodes import PlayedIteration, describe_episodes
from declutch.runs.rows import CHECKSUM, write_row

CONTROL = "control"
"""Name of the evaluation of the control: more supervised training for the time RL took."""
FACT_FILES = ("demonstrations.json", "cold_start.json")
"""What a run says of its cold start; versions before wrote the first one, too."""

ROW_FILE = "metrics.json"
"""The file of a checkpoint that holds the metrics of its iteration."""
PARTS = ("evals", "episodes", "advice", "suggestions", "coupling", "checkpoints")
"""The folders in a run folder."""
CHECKPOINT_NAME = re.compile(r"iteration-(\d+)")
"""How checkpoints are named."""

_ITERATION = re.compile(r"iteration_(\d+)")
_NUMBERED = (
    "evals/*.json",
    "episodes/*.jsonl",
    "advice/*.jsonl",
    "suggestions/*.json",
    "coupling/*.json*",
)


def iteration_name(iteration: int) -> str:
    """How a run folder's files of an iteration are named, less the ending: "iteration_0010"."""
    return f"iteration_{iteration:04d}"


def iteration_of(name: str) -> int | None:
    """The iteration that a file in a run folder is named after; None where it has another name."""
    match = _ITERATION.fullmatch(name)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, there already or not: paths of everything in it, and how it is written.

    Attributes:
        path: the folder; it is made with the first thing that is written, or by `create`.
        trained_by: the command that trains the run, for messages to say.
    """

    path: Path
    trained_by: str = "declutch train"

    @property
    def config_path(self) -> Path:
        """Where the settings lie that the run was started with."""
        return self.path / "config.yaml"

    @property
    def started_path(self) -> Path:
        """Where the settings lie that a run is bound to, sealed with their checksum."""
        return self.path / "started.yaml"

    @property
    def missing_path(self) -> Path:
        """Where a run says what it was gone on without."""
        return self.path / "missing.json"

    @property
    def reference_path(self) -> Path:
        """Where the SHA-256 of the weights lies that a run's divergence is measured from."""
        return self.path / "reference.sha256"

    @property
    def tasks_path(self) -> Path:
        """Where a run says how many tasks of each split it has, with the hash of their list."""
        return self.path / "tasks.json"

    @property
    def aside_path(self) -> Path:
        """Where that of a run lies which was moved aside, in a folder for each time."""
        return self.path / "aside"

    @property
    def restart(self) -> str:
        """The command that moves a run's folder aside and starts the run anew, for messages."""
        return self.command("--restart")

    def command(self, *words: str) -> str:
        """A command that trains the run in this folder, for messages to say."""
        return " ".join([self.trained_by, shlex.quote(str(self.path)), *words])

    @property
    def metrics_path(self) -> Path:
        """Where the metrics of a run lie, one line an iteration."""
        return self.path / "metrics.jsonl"

    @property
    def trackers_path(self) -> Path:
        """Where the trackers of a run write that keep files of their own."""
        return self.path / "trackers"

    @property
    def cold_start_path(self) -> Path:
        """Where a run says what the cold start of its model was."""
        return self.path / "cold_start.json"

    @property
    def report_path(self) -> Path:
        """Where the page of `declutch report` lies."""
        return self.path / "report.html"

    def evaluation_path(self, name: str) -> Path:
        """Where an evaluation lies; `iteration_name` names those of the run's own policy."""
        return self.path / "evals" / f"{name}.json"

    def episodes_path(self, iteration: int) -> Path:
        """Where the episodes of an iteration lie that were saved in full."""
        return self.path / "episodes" / f"{iteration_name(iteration)}.jsonl"

    def advice_path(self, iteration: int) -> Path:
        """Where the advice lies that the judgments of an iteration gave."""
        return self.path / "advice" / f"{iteration_name(iteration)}.jsonl"

    def suggestions_path(self, iteration: int) -> Path:
        """Where the version of the suggestions lies that was made after an iteration."""
        return self.path / "suggestions" / f"{iteration_name(iteration)}.json"

    def coupling_path(self, iteration: int) -> Path:
        """Where the gradient cosines lie that were measured after an iteration."""
        return self.path / "coupling" / f"{iteration_name(iteration)}.json"

    def checkpoint_path(self, iteration: int) -> Path:
        """Where the checkpoint of a run after so many iterations lies."""
        return self.path / "checkpoints" / f"iteration-{iteration:05d}"

    def fact_paths(self) -> tuple[Path, ...]:
        """The files of a run folder that say what its cold start was, as far as there are any."""
        return tuple(file for name in FACT_FILES if (file := self.path / name).exists())

    def evaluation_paths(self) -> tuple[Path, ...]:
        """The files of all of a run's evaluations by name, which is a file's stem."""
        return tuple(sorted(self.path.glob("evals/*.json")))

    def episode_paths(self) -> tuple[tuple[int, Path], ...]:
        """The files of saved episodes with their iterations, in order."""
        return self._numbered("episodes/*.jsonl")

    def suggestion_paths(self) -> tuple[tuple[int, Path], ...]:
        """The versions of the suggestions with their iterations, in order."""
        return self._numbered("suggestions/*.json")

    def coupling_paths(self) -> tuple[tuple[int, Path], ...]:
        """The files of measured gradient cosines with their iterations, in order."""
        return self._numbered("coupling/*.json")

    def relative(self, path: Path) -> str:
        """A path inside of the run folder as messages say it, e.g. "evals/control.json"."""
        return path.relative_to(self.path).as_posix()

    def create(self) -> RunFolder:
        """Make the run folder where it does not exist, before anything takes time.

        Raises:
            UserError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot create the run folder {self.path}: {error_reason(error)}"
            ) from None
        return self

    def has_started(self) -> bool:
        """Whether a training run has ever written its settings here."""
        return self.config_path.exists() or self.started_path.exists()

    def has_begun(self) -> bool:
        """Whether a run has anything on record; before that it is started anew."""
        return (
            self.metrics_path.exists()
            or bool(self.evaluation_paths())
            or bool(self.checkpoint_folders())
        )

    def withdraw_start(self) -> None:
        """Make room for another start of a run that failed before anything was on record."""
        if not self.has_begun():
            self.delete([self.config_path, self.started_path])

    def delete(self, files: Iterable[Path]) -> None:
        """Delete files of a run that will be written anew.

        Raises:
            UserError: one cannot be deleted.
        """
        try:
            for path in files:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot delete {path}: {error_reason(error)}; {advise(error)}"
            ) from None

    def read_config(self) -> Config:
        """The settings of the run.

        Raises:
            UserError: the folder has none, or they cannot be read.
        """
        if not self.has_started():
            raise UserError(f"{self.path} is no run folder: it has no {self.config_path.name}")
        path = self.config_path if self.config_path.exists() else self.started_path
        return parse_config(read_dumped(path), str(path))

    def write_config(self, config: Config) -> None:
        """Record the settings of the run that is about to start or to go on."""
        write_atomically(self.config_path, dump_config(config))

    def write_cold_start(self, facts: Mapping[str, Any]) -> None:
        """Record what the model that is trained was made from, as JSON."""
        write_atomically(self.cold_start_path, json.dumps(facts, indent=1, default=str) + "\n")

    def write_evaluation(self, name: str, result: EvalResult) -> None:
        """Record an evaluation under the name that `evaluation_path` finds it by."""
        save_result(result, self.evaluation_path(name))

    def append_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record an iteration's metrics as one more line, on the disk before this returns."""
        self.create()
        line = f"{write_row(metrics)}\n"
        try:
            with self.metrics_path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"cannot write {self.metrics_path}: {error_reason(error)}; {advise(error)}, then "
                "resume from the last checkpoint"
            ) from None

    def amend_metrics(self, metrics: Mapping[str, float]) -> None:
        """Add to the last iteration's line of metrics what was measured after it was written."""
        *before, last = self.metrics_path.read_text("utf-8").splitlines()
        row = json.loads(last)
        row.pop(CHECKSUM, None)
        lines = (*before, write_row({**row, **metrics}))
        write_atomically(self.metrics_path, "".join(f"{line}\n" for line in lines))

    def write_episodes(self, played: PlayedIteration, limit: int) -> None:
        """Record `limit` episodes of an iteration in full: those that were judged come first."""
        rows = describe_episodes(played)
        judged = {question.episode for question in played.judged.questions}
        order = sorted(range(len(rows)), key=lambda index: (index not in judged, index))
        text = "".join(json.dumps(rows[index]) + "\n" for index in sorted(order[:limit]))
        write_atomically(self.episodes_path(played.iteration), text)

    def numbered(self) -> tuple[tuple[int, Path], ...]:
        """All files of a run that are named after an iteration, with their iterations."""
        return tuple(pair for pattern in _NUMBERED for pair in self._numbered(pattern))

    def checkpoint_folders(self) -> tuple[tuple[int, Path], ...]:
        """A run's checkpoints with their iterations, complete or not, oldest first."""
        found = [
            (int(match[1]), path)
            for path in self.path.glob("checkpoints/*")
            if (match := CHECKPOINT_NAME.fullmatch(path.name)) and path.is_dir()
        ]
        return tuple(sorted(found))

    def checkpoints(self) -> tuple[tuple[int, Path], ...]:
        """A run's complete checkpoints with their iterations, oldest first."""
        return tuple(pair for pair in self.checkpoint_folders() if is_checkpoint(pair[1]))

    def last_checkpoint(self) -> Path | None:
        """A run's complete checkpoint of most iterations, None where there is none."""
        found = self.checkpoints()
        return found[-1][1] if found else None

    def iterations_saved(self) -> int:
        """After how many iterations a run's last checkpoint was written; 0 without one."""
        found = self.checkpoints()
        return found[-1][0] if found else 0

    def prune_checkpoints(self, keep: int) -> None:
        """Delete all but the `keep` newest checkpoints of a run; keep >= 1.

        Raises:
            UserError: one cannot be deleted.
        """
        try:
            for _, path in self.checkpoints()[:-keep]:
                delete_folder(path)
        except OSError as error:
            raise UserError(
                f"cannot delete the checkpoint {path}: {error_reason(error)}; {advise(error)}"
            ) from None

    def _numbered(self, pattern: str) -> tuple[tuple[int, Path], ...]:
        """(iteration, file) of the files of a pattern that are named after one, in order."""
        files = ((iteration_of(file.stem), file) for file in self.path.glob(pattern))
        return tuple(sorted((number, file) for number, file in files if number is not None))

"""The folder of a run: its configuration, metrics, evaluations and episodes.

Everything is written so that a crash at any moment leaves a folder that can be continued: lines
are appended whole, files appear whole, and `rewind` cuts what came after the last checkpoint.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from declutch.agent.codec import Codec
from declutch.config.files import dump_config, first_difference, parse_config, read_yaml
from declutch.config.run import Config
from declutch.errors import UserError
from declutch.evaluation.results import EvalResult, save_result
from declutch.files import write_atomically
from declutch.judge.round import JudgeRound
from declutch.records import Episode, StepTable
from declutch.runs.episodes import describe_episodes

_NUMBER = re.compile(r"iteration_(\d+)\.jsonl?")
NUMBERED_FILES = ("evals/*.json", "episodes/*.jsonl", "advice/*.jsonl", "suggestions/*.json")


class RunFolder:
    """A run folder; created where it does not exist.

    Raises:
        UserError: the folder cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create the run folder {path}: {error.strerror}") from None

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    def has_started(self) -> bool:
        """Whether a training run has ever written here."""
        return self.config_path.exists()

    def withdraw_start(self) -> None:
        """Make room for another start where nothing is on record yet."""
        if self.has_started() and not has_begun(self.path):
            self.config_path.unlink()

    def write_config(self, config: Config) -> None:
        write_atomically(self.config_path, dump_config(config))

    def read_config(self) -> Config:
        """The configuration the run was started with."""
        if not self.has_started():
            raise UserError(f"{self.path} is no run folder: it has no config.yaml")
        return parse_config(read_yaml(self.config_path), str(self.config_path))

    def write_facts(self, name: str, facts: Mapping[str, Any]) -> None:
        """A small JSON file beside the metrics, e.g. what the cold start was."""
        write_atomically(self.path / name, json.dumps(facts, indent=1, default=str) + "\n")

    def write_evaluation(self, name: str, result: EvalResult) -> None:
        save_result(result, self.path / "evals" / f"{name}.json")

    def append_metrics(self, metrics: Mapping[str, float]) -> None:
        """One more line; on the disk before this returns."""
        line = json.dumps(metrics, sort_keys=False) + "\n"
        try:
            with self.metrics_path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"cannot write {self.metrics_path}: {error.strerror}; free some space, then "
                "resume from the last checkpoint"
            ) from None

    def rewind(self, iteration: int) -> None:
        """Forget what came after `iteration`, so that it can be done again."""
        if self.metrics_path.exists():
            kept = []
            for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
                try:
                    number = json.loads(line)["iteration"]
                except (ValueError, KeyError, TypeError):
                    # A line that was being written when the process died.
                    break
                if number > iteration:
                    break
                kept.append(line + "\n")
            write_atomically(self.metrics_path, "".join(kept))
        for pattern in NUMBERED_FILES:
            for file in self.path.glob(pattern):
                match = _NUMBER.fullmatch(file.name)
                if match and int(match[1]) > iteration:
                    file.unlink()

    def write_episodes(
        self,
        iteration: int,
        episodes: Sequence[Episode],
        table: StepTable,
        advantage: Tensor,
        judged: JudgeRound,
        codec: Codec,
        config: Config,
    ) -> None:
        """Some episodes in full, for the report's browser: judged ones first, then in order."""
        rows = describe_episodes(iteration, episodes, table, advantage, judged, codec)
        judged_ids = {question.episode for question in judged.questions}
        order = sorted(range(len(rows)), key=lambda i: (i not in judged_ids, i))
        chosen = sorted(order[: config.train.save_episodes])
        text = "".join(json.dumps(rows[i]) + "\n" for i in chosen)
        write_atomically(self.path / "episodes" / f"iteration_{iteration:04d}.jsonl", text)


def has_begun(folder: Path) -> bool:
    """Whether a run has anything on record; one that failed before that is started anew."""
    return (folder / "evals").exists() or (folder / "metrics.jsonl").exists()


def claim(path: Path, config: Config, ignored: Collection[str] = ()) -> None:
    """Write `config` to `path`, or make sure that what is there says the same.

    Args:
        ignored: dotted keys that may differ.
    Raises:
        UserError: it says something else; the message names the first key and both values.
    """
    if not path.exists():
        write_atomically(path, dump_config(config))
    else:
        check_claim(path, config, ignored)


def check_claim(path: Path, config: Config, ignored: Collection[str] = ()) -> None:
    """Make sure that the configuration in `path` says what `config` does, as `claim`."""
    found = parse_config(read_yaml(path), str(path))
    difference = first_difference(found, config, ignored)
    if difference is not None:
        key, there, here = difference
        raise UserError(
            f"{path} says {key}={json.dumps(there)}, but {key}={json.dumps(here)} is asked for: "
            "give another folder, or delete this one"
        )

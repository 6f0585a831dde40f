"""What an evaluation found, one line per play, and its JSON file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from declutch.evaluation.behaviour import ActionCounts, count_actions
from declutch.evaluation.exam_results import JudgeResult, judge_data, read_judge_data
from declutch.ground.contents import parse_json, parse_record, read_text
from declutch.ground.errors import UserError
from declutch.ground.files import write_atomically
from declutch.records import Episode, Outcome

FORMAT = "declutch-eval-1"


@dataclass(frozen=True)
class GameResult:
    """A line of an evaluation's results: how one play of one game ended, and what the actions were.

    Attributes:
        level: level it was evaluated for, e.g. "L0".
        name: the task's name, unique within a level.
        kind: task type.
        seed: evaluation seed.
        outcome: how it ended; only WON is a success.
        score: the environment's score in [0, 1].
        counts: what the actions were.
    """

    level: str
    name: str
    kind: str
    seed: int
    outcome: Outcome
    score: float
    counts: ActionCounts

    @property
    def is_won(self) -> bool:
        return self.outcome is Outcome.WON

    @property
    def is_counted(self) -> bool:
        return self.outcome is not Outcome.ENV_ERROR

    @property
    def is_finished_positive(self) -> bool:
        return is_finished_positive(self.outcome, self.score)

    @property
    def num_steps(self) -> int:
        return self.counts.steps


@dataclass(frozen=True)
class EvalResult:
    """The results of an evaluation of one policy: every play of every game, and how it was played.

    Attributes:
        policy: name of what was evaluated: a checkpoint, "expert", "random".
        temperature: sampling temperature; NaN where the policy does not sample.
        protocol: cold-start protocol behind the policy ("strict", "declared-share"), "" for none.
        manifests: level -> hash of the exhaustive, ordered task list it was drawn from.
        games: every play.
        suite: environment suite.
        max_steps: steps an episode may take, None where unknown.
        seconds: wall time of the evaluation, None where unknown.
        judge: how steps of it were judged, None where none were.
    """

    policy: str
    temperature: float
    protocol: str
    manifests: Mapping[str, str]
    games: tuple[GameResult, ...]
    suite: str = ""
    max_steps: int | None = None
    seconds: float | None = None
    judge: JudgeResult | None = None

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels in the order they were played."""
        return tuple(dict.fromkeys(game.level for game in self.games))

    @property
    def success(self) -> dict[str, float]:
        """Share of games won in [0, 1] by level, among those without an environment error."""
        counted: dict[str, list[bool]] = {level: [] for level in self.levels}
        for game in self.games:
            if game.outcome is not Outcome.ENV_ERROR:
                counted[game.level].append(game.is_won)
        return {level: sum(won) / len(won) if won else math.nan for level, won in counted.items()}

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({game.seed for game in self.games}))


def is_finished_positive(outcome: Outcome, score: float) -> bool:
    """Of a game's results: finished in time with a score above nothing, which is not won.

    It is no success by itself.

    Args:
        outcome, score: of an episode; see `declutch.records.Episode`.
    Source: what the published code of Zhang et al. 2025 (RLVMR) counts as ScienceWorld's successes.
    """
    return outcome in (Outcome.WON, Outcome.FAILED) and score > 0


def has_partial_scores(plays: Iterable[GameResult] | Iterable[Episode]) -> bool:
    """Whether some result of an evaluation has a score that says more than won or not.

    Then scores are worth columns in tables. Plays that ended in an environment error say nothing.
    """
    return any(
        play.outcome is not Outcome.ENV_ERROR and play.score != float(play.is_won) for play in plays
    )


def game_result(episode: Episode, level: str, seed: int) -> GameResult:
    """One played episode as a line of an evaluation's results."""
    return GameResult(
        level=level,
        name=episode.task.name,
        kind=episode.task.kind,
        seed=seed,
        outcome=episode.outcome,
        score=float(episode.score),
        counts=count_actions(episode),
    )


def save_result(result: EvalResult, path: Path) -> None:
    """Save the results of an evaluation to a JSON file, which is there in full or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    write_atomically(path, to_json(result), f"the evaluation {path}")


def load_result(path: Path) -> EvalResult:
    """Load the results of an evaluation from the JSON file that `save_result` wrote.

    Raises:
        UserError: unreadable, truncated or not an evaluation.
    """
    text = read_text(path, f"the evaluation {path}")
    try:
        return from_json(text)
    except ValueError as error:
        raise UserError(f"{path} is not an evaluation: {error}") from None


def to_json(result: EvalResult) -> str:
    """The results of an evaluation as the text of a JSON file: named columns, a row per play."""
    columns = _columns()
    plays = [
        {**asdict(game), **asdict(game.counts), "outcome": game.outcome.value}
        for game in result.games
    ]
    data: dict[str, Any] = {
        "format": FORMAT,
        "policy": result.policy,
        "temperature": None if math.isnan(result.temperature) else result.temperature,
        "protocol": result.protocol,
        "suite": result.suite,
        "max_steps": result.max_steps,
        "seconds": result.seconds,
        "manifests": dict(result.manifests),
        "columns": columns,
        "games": [[play[column] for column in columns] for play in plays],
    }
    if result.judge is not None:
        data["judge"] = judge_data(result.judge)
    data["sha256"] = _digest(data)
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def _digest(data: Mapping[str, Any]) -> str:
    """What a flipped digit changes: SHA-256 of all the rest, however it is laid out."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def from_json(text: str) -> EvalResult:
    """Read the results of an evaluation from the text of their JSON file.

    Raises:
        ValueError: not JSON, or not an evaluation; the message says what is wrong.
    """
    data = parse_json(text, is_lenient=True)
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise ValueError(f"it does not say format {FORMAT!r}")
    stated = data.pop("sha256", None)
    # The version before wrote none.
    if stated is not None and stated != _digest({"format": FORMAT, **data}):
        raise ValueError("it is damaged or was edited: its SHA-256 is not the one it states")
    try:
        columns = data.pop("columns")
        data["games"] = [_game(dict(zip(columns, row, strict=True))) for row in data["games"]]
        if data["temperature"] is None:
            data["temperature"] = math.nan
        if "judge" in data:
            data["judge"] = asdict(read_judge_data(data["judge"]))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a field is missing or has the wrong type: {error}") from None
    return parse_record(EvalResult, json.dumps(data))


def _columns() -> list[str]:
    own = [entry.name for entry in fields(GameResult) if entry.name != "counts"]
    return own + [entry.name for entry in fields(ActionCounts)]


def _game(play: dict[str, Any]) -> dict[str, Any]:
    """A row's columns as the fields of a `GameResult`, those of its counts apart."""
    counts = {entry.name: play.pop(entry.name) for entry in fields(ActionCounts)}
    return {**play, "counts": counts}

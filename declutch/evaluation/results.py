"""What an evaluation found, one line per play, and its JSON file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
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
class Tally:
    """How often each game was played and won, of an evaluation's results on a level or task type.

    Attributes:
        played, won: by name of every game; plays that ended in an environment error do not count.
        seeds: of all plays.
    """

    played: dict[str, int]
    won: dict[str, int]
    seeds: set[int]


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

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Levels in the order they were played."""
        return tuple(dict.fromkeys(level for level, _ in self.tallies))

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

    @cached_property
    def tallies(self) -> Mapping[tuple[str, str], Tally]:
        """How often each game was won, by level and task type; type "" is all of a level's."""
        seeds: dict[tuple[str, str], set[int]] = {}
        by_game: dict[tuple[str, str, str], list[int]] = {}
        for game in self.games:
            seeds.setdefault((game.level, game.kind), set()).add(game.seed)
            counts = by_game.setdefault((game.level, game.kind, game.name), [0, 0])
            outcome = game.outcome
            counts[0] += outcome is not Outcome.ENV_ERROR
            counts[1] += outcome is Outcome.WON
        found: dict[tuple[str, str], Tally] = {}
        for (level, kind, name), (played, won) in by_game.items():
            for key in dict.fromkeys(((level, ""), (level, kind))):
                tally = found.setdefault(key, Tally({}, {}, set()))
                tally.seeds.update(seeds[level, kind])
                tally.played[name] = tally.played.get(name, 0) + played
                tally.won[name] = tally.won.get(name, 0) + won
        return found


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
        columns, rows = data.pop("columns"), data["games"]
        games = _read_plain(columns, rows)
        # What is not plain is told by the name of the field, and read by whoever can tell it.
        data["games"] = [] if games else _name_fields(columns, rows)
        if data["temperature"] is None:
            data["temperature"] = math.nan
        if "judge" in data:
            data["judge"] = asdict(read_judge_data(data["judge"]))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a field is missing or has the wrong type: {error}") from None
    result = parse_record(EvalResult, json.dumps(data))
    return replace(result, games=games) if games else result


def _columns() -> list[str]:
    own = [entry.name for entry in fields(GameResult) if entry.name != "counts"]
    return own + [entry.name for entry in fields(ActionCounts)]


def _name_fields(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows of columns as mappings of the fields of a `GameResult`, those of its counts apart."""
    own = [entry.name for entry in fields(ActionCounts)]
    plays = [dict(zip(columns, row, strict=True)) for row in rows]
    counts = [{name: play.pop(name) for name in own} for play in plays]
    return [{**play, "counts": part} for play, part in zip(plays, counts, strict=True)]


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_WHOLE: frozenset[type] = frozenset({int})
_TYPES: dict[str, frozenset[type]] = {
    **dict.fromkeys(("level", "name", "kind", "outcome"), frozenset({str})),
    "score": frozenset({float, int}),
}
"""What a column holds; whole numbers where nothing is said."""


def _read_plain(columns: Any, rows: Any) -> tuple[GameResult, ...]:
    """The plays of rows in which every value has the type that we write; () for all others.

    An evaluation has hundreds of plays and a comparison hundreds of evaluations, so that types are
    looked at column by column, and no mapping is made of a row.
    """
    wanted = _columns()
    if columns != wanted or not isinstance(rows, list) or not rows:
        return ()
    if any(not isinstance(row, list) or len(row) != len(wanted) for row in rows):
        return ()
    by_name = dict(zip(wanted, zip(*rows, strict=True), strict=False))
    for name, values in by_name.items():
        if not set(map(type, values)) <= _TYPES.get(name, _WHOLE):
            return ()
    outcomes = [_OUTCOMES.get(value) for value in by_name.get("outcome", ())]
    if None in outcomes:
        return ()
    counts = map(ActionCounts, *(by_name[entry.name] for entry in fields(ActionCounts)))
    return tuple(
        map(
            GameResult,
            *(by_name[name] for name in ("level", "name", "kind", "seed")),
            outcomes,
            map(float, by_name["score"]),
            counts,
        )
    )

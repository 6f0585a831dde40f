"""Make a training run's suggestions out of its judgments, and keep them in its folder.

`advice/iteration_0007.jsonl` holds what the judgments of an iteration advised, and
`suggestions/iteration_0010.json` a version of the suggestions with all that they were made of. Both
are written before the iteration's checkpoint, so that a resumed run makes and shows the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from declutch.agent.codec import Codec
from declutch.config.judge import SuggestionsConfig
from declutch.endpoint.chat import Chat
from declutch.ground.contents import parse_record, read_text
from declutch.ground.errors import UserError
from declutch.ground.files import write_atomically
from declutch.judge.round import JudgeRound
from declutch.judge.suggestions import (
    Advice,
    SuggestionsVersion,
    Theme,
    collect_advice,
    make_suggestions,
    select_advice,
)
from declutch.judge.themes import load_embedder
from declutch.records import Episode
from declutch.runs.catalogue import metrics
from declutch.runs.folder import RunFolder
from declutch.runs.versions import read_version


class Suggester:
    """Has a training run suggest: keeps the suggestions its prompts show, and renews them at times.

    Attributes:
        shown: the suggestions that prompts show now, the most advised first; () before the first
            version and where suggestions are not enabled.
    Args:
        run: the run folder, already rewound to the iteration that the run goes on from.
        chat: a language model to sum up advice, where `config.distill` says so.
        say: told what went wrong and was put up with; the same trouble is told once.
    Raises:
        UserError: the embedder is not installed, `chat` is missing, or the last version in the run
            folder is damaged.
    """

    def __init__(
        self,
        config: SuggestionsConfig,
        run: RunFolder,
        chat: Chat | None,
        say: Callable[[str], None],
    ) -> None:
        self.shown: tuple[str, ...] = ()
        self._config, self._run, self._chat, self._say = config, run, chat, say
        self._note = ""
        if not config.enabled:
            return
        if config.distill == "endpoint" and chat is None:
            raise UserError(
                "gcd.suggestions.distill=endpoint, but no endpoint is given; "
                "gcd.suggestions.distill=medoid needs none"
            )
        self._embed = load_embedder(config.embedder)
        versions = run.suggestion_paths()
        if versions:
            last = read_version(versions[-1][1])
            self.shown, self._note = last.suggestions, last.note

    def update(
        self, judged: JudgeRound, episodes: Sequence[Episode], codec: Codec, iteration: int
    ) -> dict[str, float]:
        """Keep an iteration's advice, and make new suggestions every `config.every` iterations.

        Args:
            iteration: the one just played, from 1.
        Returns:
            Metrics: the number of suggestions that this iteration's prompts showed and of pieces of
            advice that it adds; where new suggestions were made, also what they were made of.
        """
        advice = collect_advice(judged, episodes, codec, iteration)
        write_atomically(
            self._run.advice_path(iteration),
            "".join(json.dumps(vars(piece)) + "\n" for piece in advice),
        )
        values: dict[str, float | None] = {
            "num_shown": float(len(self.shown)),
            "num_advice": float(len(select_advice(advice, self._config))),
        }
        if iteration % self._config.every == 0:
            values |= self._renew(iteration)
        return metrics("suggestions", values)

    def _renew(self, iteration: int) -> dict[str, float | None]:
        config = self._config
        first = max(1, iteration - config.window + 1)
        made = make_suggestions(
            select_advice(read_advice(self._run, first, iteration), config),
            iteration,
            self.shown,
            config,
            self._embed,
            self._chat,
        )
        file = self._run.suggestions_path(iteration)
        write_atomically(file, json.dumps(describe_version(made, first), indent=1) + "\n")
        if made.note and made.note != self._note:
            self._say(f"suggestions of iteration {iteration}: {made.note}")
        self.shown, self._note = made.suggestions, made.note
        return {
            "num_themes": float(len(made.themes)),
            "silhouette": made.silhouette,
            "num_failures": float(made.num_failures) if config.distill == "endpoint" else None,
        }


def read_advice(run: RunFolder, first: int, last: int) -> list[Advice]:
    """Read the advice that a training run is to suggest by, iterations `first` to `last`."""
    found = []
    for iteration in range(first, last + 1):
        file = run.advice_path(iteration)
        if file.exists():
            found += _read_pieces(file)
    return found


def _read_pieces(file: Path) -> list[Advice]:
    pieces = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        try:
            pieces.append(parse_record(Advice, line))
        except ValueError as error:
            raise UserError(
                f"{file}, line {number} is no advice ({error}); delete the line or the file to go "
                "on without it"
            ) from None
    return pieces


def describe_version(made: SuggestionsVersion, first: int) -> dict[str, Any]:
    """In training, describe the suggestions that were just made, as data for the run folder.

    Args:
        first: the first iteration whose advice it was made of.
    """
    return {
        "iteration": made.iteration,
        "first_iteration": first,
        "suggestions": list(made.suggestions),
        "note": made.note,
        "num_advice": made.num_advice,
        "silhouette": made.silhouette,
        "themes": [_describe_theme(theme) for theme in made.themes],
    }


def _describe_theme(theme: Theme) -> dict[str, Any]:
    by_text: dict[str, list[Advice]] = {}
    for piece in theme.advice:
        by_text.setdefault(piece.text, []).append(piece)
    return {
        "suggestion": theme.suggestion,
        "source": theme.source,
        "left_out": theme.left_out,
        "medoid": theme.medoid,
        "size": len(theme.advice),
        "sentences": [
            {"text": text, "count": len(pieces), "places": _places(pieces)}
            for text, pieces in by_text.items()
        ],
    }


def _places(pieces: Sequence[Advice]) -> list[dict[str, Any]]:
    """The steps that pieces of advice are about, each once, as judgments may say the same."""
    places = dict.fromkeys((p.iteration, p.task, p.episode, p.step) for p in pieces)
    return [
        dict(zip(("iteration", "task", "episode", "step"), place, strict=True)) for place in places
    ]

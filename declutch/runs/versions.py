"""Read the versions of a run's suggestions from their files in `suggestions/`.

Version 0.1.0 wrote "rules" for suggestions and "rule" for the suggestion of a theme.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field

from declutch.ground.contents import parse_record
from declutch.ground.errors import UserError, error_reason
from declutch.runs.folder import RunFolder


@dataclass(frozen=True)
class Place:
    """For versions of the suggestions: the judged step that a piece of advice came from."""

    iteration: int
    task: str
    episode: int
    step: int


@dataclass(frozen=True)
class Sentence:
    """For versions of the suggestions: a sentence in prompts, and the steps that advised it."""

    text: str
    count: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Theme:
    """In a version of a run's suggestions, a theme: its advice, and the suggestion of it.

    Attributes:
        suggestion: "" where there is none.
        source: "medoid" or "endpoint".
        left_out: why the suggestion is in no prompt, "" where it is in one.
        size: how many judgments gave the advice.
    """

    suggestion: Annotated[str, Field(validation_alias=AliasChoices("suggestion", "rule"))]
    source: str
    left_out: str
    medoid: str
    size: int
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Version:
    """One of the versions of a run's suggestions: those in prompts after `iteration`."""

    iteration: int
    first_iteration: int
    suggestions: Annotated[
        tuple[str, ...], Field(validation_alias=AliasChoices("suggestions", "rules"))
    ]
    note: str
    num_advice: int
    silhouette: float | None
    themes: tuple[Theme, ...]


def read_version(file: Path) -> Version:
    """Read one of the versions of the suggestions that a run has recorded.

    Raises:
        UserError: the file is damaged or cannot be read.
    """
    try:
        return parse_record(Version, file.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} could not be read ({error_reason(error)}); delete it to go on with the "
            "version before it"
        ) from None


def read_versions(run: RunFolder, notes: list[str]) -> tuple[Version, ...]:
    """Read all versions of a run's suggestions; `notes` names damaged ones."""
    versions = []
    for _, file in run.suggestion_paths():
        try:
            versions.append(read_version(file))
        except UserError:
            notes.append(f"{run.relative(file)} could not be read.")
    return tuple(versions)

"""The versions of a run's rules, as their files in `suggestions/` have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True)
class Place:
    """A judged step, by index within its iteration and episode."""

    iteration: int
    task: str
    episode: int
    step: int


@dataclass(frozen=True)
class Sentence:
    """A sentence of advice, how many judgments gave it, and about which steps."""

    text: str
    count: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Theme:
    """Sentences that say much the same, and the rule that sums them up.

    Attributes:
        rule: "" where there is none.
        source: "medoid" or "endpoint".
        left_out: why the rule is in no prompt, "" where it is.
        size: judgments.
    """

    rule: str
    source: str
    left_out: str
    medoid: str
    size: int
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Version:
    """The rules of training prompts after `iteration`, and what they were made of."""

    iteration: int
    first_iteration: int
    rules: tuple[str, ...]
    note: str
    num_advice: int
    silhouette: float | None
    themes: tuple[Theme, ...]


_VERSION = TypeAdapter(Version)


def read_versions(folder: Path, notes: list[str]) -> tuple[Version, ...]:
    """All versions in order; damaged ones go to `notes`."""
    versions = []
    for file in sorted(folder.glob("iteration_*.json")):
        try:
            versions.append(_VERSION.validate_json(file.read_bytes()))
        except (OSError, ValidationError):
            notes.append(f"suggestions/{file.name} could not be read.")
    return tuple(versions)

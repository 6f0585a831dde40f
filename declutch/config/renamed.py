"""Former names and values of settings: refused from a user, translated in old runs.

Who renames a setting adds one line to `RENAMED`. Given in a file or as KEY=VALUE, the former name
is an error that says the new one; in the config.yaml of a run that a former version wrote, it is
translated, so that the run can still be resumed, reported and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from declutch.ground.errors import UserError


@dataclass(frozen=True)
class Renamed:
    """A renamed setting, which had another name, and perhaps other values, in a former version.

    Attributes:
        old, new: dotted keys.
        values: former values whose names have changed as well, and those of today.
    """

    old: str
    new: str
    values: Mapping[str, str] = field(default_factory=dict)

    def translate(self, value: Any) -> Any:
        """Translate a value that a former version wrote into today's."""
        return self.values.get(value, value) if isinstance(value, str) else value


RENAMED: Final = (
    Renamed("env.data_dir", "env.alfworld.data_dir"),
    Renamed("sft.demos", "sft.demonstrations"),
    Renamed("sft.guided_share", "sft.suggestion_share"),
    Renamed("sft.future_samples", "sft.prediction_samples"),
    Renamed("gcd.suggestions.max_rules", "gcd.suggestions.max_suggestions"),
    Renamed(
        "gcd.form",
        "gcd.task",
        {"generative": "judge", "value_head": "value_head", "future": "prediction"},
    ),
    Renamed("algorithm.form", "algorithm.combine"),
)


FORMER: Final[Mapping[str, Any]] = {"optimizer.shuffle": "samples"}
"""What runs did before there was a setting for it, where today's default is something else."""


def refuse_renamed(data: Mapping[str, Any], source: str) -> None:
    """Refuse renamed settings under their former names, with an error that says today's.

    Args:
        source: where the data comes from, for the error.
    Raises:
        UserError: it has; the message says today's name of each, and of its value.
    """
    lines = []
    for renamed, value in _find_renamed(data):
        old, new, translated = renamed.old, renamed.new, renamed.translate(value)
        if translated != value:
            old, new = f"{old}={value}", f"{new}={translated}"
        lines.append(f"{old} is now called {new}")
    if lines:
        raise UserError(f"{source}: {'; '.join(lines)}")


def translate_renamed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Translate renamed settings of a former version's run into today's names."""
    result: dict[str, Any] = _copy(data)
    for renamed, value in _find_renamed(data):
        *path, last = renamed.old.split(".")
        del _section(result, path)[last]
        *path, last = renamed.new.split(".")
        section = _section(result, path)
        section.setdefault(last, renamed.translate(value))
    return result


def fill_former(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what a former version's run did where it had no setting for it yet.

    A run's file spells out all settings of the version that wrote it, so that one that is missing
    in a section that is there did not exist.
    """
    result: dict[str, Any] = _copy(data)
    for key, value in FORMER.items():
        *path, last = key.split(".")
        node: Any = result
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.setdefault(last, value)
    return result


def _find_renamed(data: Mapping[str, Any]) -> Iterator[tuple[Renamed, Any]]:
    """Every former name in `data`, and the value it is given."""
    for renamed in RENAMED:
        *path, last = renamed.old.split(".")
        node: Any = data
        for part in path:
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and last in node:
            yield renamed, node[last]


def _section(data: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for part in path:
        data = data.setdefault(part, {})
    return data


def _copy(data: Any) -> Any:
    return {k: _copy(v) for k, v in data.items()} if isinstance(data, Mapping) else data

"""Reading, combining and comparing the settings of runs.

A configuration is YAML files, each laid over those before it, plus dotted overrides
(`optimizer.lr=2e-4`). What is wrong with it becomes one message that names the key, the value and
the nearest valid one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from declutch.config.algorithm import fields_of_method
from declutch.config.explain import explain
from declutch.config.preset import find_settings_file
from declutch.config.renamed import fill_former, refuse_renamed, translate_renamed
from declutch.config.run import Config
from declutch.ground.contents import parse_yaml, read_text
from declutch.ground.errors import UserError


def load_config(
    paths: str | Path | Sequence[str | Path] | None, overrides: Sequence[str] = ()
) -> Config:
    """Load the settings of a run from YAML files and "section.key=value" items.

    Args:
        paths: YAML files or names of presets, each laid over those before it; none for the
            defaults.
        overrides: "section.key=value" items, laid over the files; values are YAML.
    Raises:
        UserError: unreadable file, unknown key, wrong type, impossible combination.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths or ())
    files = [Path(path) for path in given]
    source = ", ".join(
        [*map(str, files), *(["the command line"] if overrides or not files else [])]
    )
    return parse_config(apply_overrides(read_layers(files), overrides), source)


def read_layers(paths: Sequence[Path]) -> dict[str, Any]:
    """Read YAML files or presets of settings as plain data, each laid over those before it."""
    data: dict[str, Any] = {}
    for path in paths:
        data = lay_over(data, read_yaml(find_settings_file(path)))
    return data


def lay_over(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay plain settings, as read from one file, over those of another, section by section.

    Where `above` chooses another algorithm, settings of the former one that the new one lacks are
    left behind.
    """
    chosen = above.get("algorithm")
    given = base.get("algorithm")
    if isinstance(chosen, Mapping) and isinstance(given, Mapping) and "type" in chosen:
        wanted, former = (fields_of_method(part) for part in (chosen, given))
        kept = {key: value for key, value in given.items() if key not in former - wanted}
        base = {**base, "algorithm": kept}
    return _merge(base, above)


def _merge(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in above.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _merge(below, value)
        result[key] = value
    return result


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Lay items of a command line over settings that were read from files."""
    above: dict[str, Any] = {}
    for item in overrides:
        above = _merge(above, _parse_override(_merge(data, above), item))
    return lay_over(data, above)


def parse_config(data: dict[str, Any], source: str) -> Config:
    """Validate plain data from files of settings as a run's `Config`; errors name `source`."""
    refuse_renamed(data, source)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, data, source)) from None


def change_config(config: Config, **changes: Any) -> Config:
    """Change settings of a `Config` as files laid over it would; a mapping changes a section's."""
    data = config.model_dump(mode="json")
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return parse_config(data, "the changed configuration")


def override_config(config: Config, overrides: Sequence[str], source: str) -> Config:
    """Lay "section.key=value" items over a `Config` as if they stood in a file after the others."""
    return parse_config(apply_overrides(config.model_dump(mode="json"), overrides), source)


def first_difference(
    one: Config, other: Config, ignored: Collection[str] = ()
) -> tuple[str, Any, Any] | None:
    """Find the first setting in which two runs' files of settings would differ, and both values.

    Args:
        ignored: dotted keys that may differ.
    """
    first, second = _flatten(one.model_dump(mode="json")), _flatten(other.model_dump(mode="json"))
    for key in dict.fromkeys([*first, *second]):
        if key not in ignored and first.get(key) != second.get(key):
            return key, first.get(key), second.get(key)
    return None


def dump_config(config: Config) -> str:
    """Write settings as the text of a YAML file, every default spelled out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings as plain data; it has to hold a mapping."""
    try:
        data = parse_yaml(read_text(path, f"the configuration {path}"))
    except ValueError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a mapping of sections, found {type(data).__name__}")
    return data


def read_dumped(path: Path) -> dict[str, Any]:
    """Read a settings file that `dump_config` wrote, perhaps long ago, in today's settings."""
    return fill_former(translate_renamed(read_yaml(path)))


def _flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _parse_override(data: Mapping[str, Any], item: str) -> dict[str, Any]:
    """An item as nested data, to be laid over `data`."""
    key, separator, value = item.partition("=")
    if not separator or not key:
        raise UserError(f"override {item!r} is not of the form section.key=value")
    try:
        parsed = parse_yaml(value)
    except ValueError:
        raise UserError(f"override {item!r}: {value!r} is not a valid YAML value") from None
    # YAML 1.1 reads 1e-4 as a string; a number is what the user means.
    if isinstance(parsed, str):
        parsed = _number_or_text(parsed)
    *sections, last = key.split(".")
    node: Any = data
    for section in sections:
        node = node.get(section, {})
        if not isinstance(node, Mapping):
            raise UserError(f"override {item!r}: {section!r} is a value, not a section")
    nested: dict[str, Any] = {last: parsed}
    for section in reversed(sections):
        nested = {section: nested}
    return nested


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text

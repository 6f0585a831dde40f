"""Every setting as data, for who prints or documents them: key, values, default and meaning.

All of it is read from the classes of the sections and the docstrings of their fields.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from declutch.config.algorithm import METHODS, method_config_class
from declutch.config.explain import section_class
from declutch.config.run import Config
from declutch.config.section import Section

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_KINDS = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path"}


@dataclass(frozen=True)
class Setting:
    """One setting in the listing of all: key, values, default and meaning.

    Attributes:
        key: dotted, as it is written in KEY=VALUE.
        values: which values it takes, in words.
        default: as it is written in KEY=VALUE.
        meaning: the docstring of its field, on one line.
    """

    key: str
    values: str
    default: str
    meaning: str


@dataclass(frozen=True)
class SettingsSection:
    """A section in the listing of all settings that `declutch settings` prints.

    Attributes:
        name: dotted; "" for the settings that stand in no section.
        method: the `algorithm.type` whose settings these are, "" elsewhere.
        meaning: the docstring of its class, on one line.
        settings: in the order they are written in, those of subsections left out.
    """

    name: str
    method: str
    meaning: str
    settings: tuple[Setting, ...]

    @property
    def title(self) -> str:
        """What the section is called in a list of all settings."""
        return f"{self.name}, where {self.name}.type={self.method}" if self.method else self.name


def list_settings() -> tuple[SettingsSection, ...]:
    """List all settings with their documentation, section by section and method by method."""
    return tuple(_sections(Config, ""))


def _sections(section: type[Section], name: str) -> Iterator[SettingsSection]:
    own = {
        key: field
        for key, field in section.model_fields.items()
        if section_class(section, key) is None
    }
    if own:
        yield _read_section(section, name, own)
    for key in section.model_fields:
        inner = section_class(section, key)
        if inner is None:
            continue
        path = f"{name}.{key}" if name else key
        yield from _sections(inner, path)
        if path == "algorithm":
            yield from (_read_method(path, method) for method in METHODS)


def _read_method(name: str, method: str) -> SettingsSection:
    section = method_config_class(method)
    fields = {key: field for key, field in section.model_fields.items() if key != "type"}
    return _read_section(section, name, fields, method)


def _read_section(
    section: type[Section], name: str, fields: dict[str, FieldInfo], method: str = ""
) -> SettingsSection:
    prefix = f"{name}." if name else ""
    settings = tuple(
        Setting(prefix + key, _describe_values(field), _default(field), _meaning(section, key))
        for key, field in fields.items()
    )
    return SettingsSection(name, method, _one_line(section.__doc__ or ""), settings)


def _meaning(section: type[Section], key: str) -> str:
    """The docstring of a field, of the nearest class that gives it one."""
    for owner in section.__mro__:
        field = getattr(owner, "model_fields", {}).get(key)
        if field is not None and field.description:
            return _one_line(field.description)
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, Path):
        default = str(default)
    if isinstance(default, tuple):
        default = list(default)
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, str) and default:
        return default
    text = yaml.safe_dump(default, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _describe_values(field: FieldInfo) -> str:
    """Which values a field takes, in words: "number, at least 0", "token or sequence"."""
    bounds = [
        f"{word} {getattr(constraint, name):g}"
        for constraint in field.metadata
        for name, word in _BOUNDS.items()
        if hasattr(constraint, name)
    ]
    kind, is_optional = field.annotation, False
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
        is_optional = True
    text = ", ".join([_kind(kind), " and ".join(bounds)] if bounds else [_kind(kind)])
    if not is_optional:
        return text
    return f"{text}, or null" if bounds else f"{text} or null"


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        *others, last = map(str, arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if origin is tuple:
        return f"list of {_kind(arguments[0])}s".replace("texts", "words")
    if origin is dict:
        return "mapping"
    return _KINDS.get(annotation, str(annotation))

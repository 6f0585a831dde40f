"""What is wrong with settings, in one message that names key, value and what may be meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from declutch.config.algorithm import fields_of_method
from declutch.config.run import Config
from declutch.config.section import Section
from declutch.ground.errors import NEAR

_MOST_PLACES = 3
"""A name that more sections have than this is too common for a hint."""


def explain(error: ValidationError, data: Mapping[str, Any], source: str) -> str:
    """Explain in one message all that is wrong with settings, with hints at what may be meant.

    Args:
        data: the plain data that is wrong.
        source: where it comes from.
    """
    return f"{source}: " + "; ".join(_explain(dict(problem), data) for problem in error.errors())


def _explain(problem: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    path = tuple(str(part) for part in problem["loc"])
    key, value = ".".join(path), problem["input"]
    reason = problem["msg"].removeprefix("Value error, ")
    if not key or (problem["type"] == "value_error" and isinstance(value, Mapping | Section)):
        return reason  # It is about several settings, and names them itself.
    if problem["type"] == "extra_forbidden":
        return _explain_unknown(path, isinstance(value, Mapping), data)
    # What stands in the place of another setting of the endpoint may be a key.
    shown = f"{key}={value!r}"
    if path[0] == "endpoint" and not isinstance(value, int | float):
        shown = key
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"{shown}: this is a section, whose settings are written {key}.KEY=VALUE"
    return f"{shown}: {reason if problem['type'] == 'value_error' else reason.lower()}"


def _explain_unknown(path: tuple[str, ...], is_section: bool, data: Mapping[str, Any]) -> str:
    """An unknown name, and those that are nearly the same or stand elsewhere, of its own kind."""
    *parents, name = path
    word = "section" if is_section else "setting"
    siblings = _names_in(tuple(parents), data)
    alike = [
        other for other, is_other_section in siblings.items() if is_other_section is is_section
    ]
    close = difflib.get_close_matches(name, alike, n=1, cutoff=NEAR)
    hints = [".".join((*parents, other)) for other in close] or _find_elsewhere(name, is_section)
    message = f"unknown {word} {'.'.join(path)!r}"
    if hints:
        return f"{message}; did you mean {' or '.join(map(repr, hints))}?"
    return f"{message}; known: {', '.join(siblings)}" if siblings else message


def _find_elsewhere(name: str, is_section: bool) -> list[str]:
    """Keys of other sections that are called `name`; none where there are many."""
    found = [key for key, is_other in _all_keys() if is_other is is_section and _last(key) == name]
    return found if len(found) <= _MOST_PLACES else []


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _names_in(path: Sequence[str], data: Mapping[str, Any]) -> dict[str, bool]:
    """Names at one place of the configuration, and whether each is a section."""
    if tuple(path) == ("algorithm",):
        return dict.fromkeys(sorted(fields_of_method(data["algorithm"])), False)
    section: type[Section] | None = Config
    for part in path:
        section = section_class(section, part) if section is not None else None
    if section is None:
        return {}
    return {name: section_class(section, name) is not None for name in section.model_fields}


def _all_keys(section: type[Section] = Config, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Every dotted key of the configuration, and whether it is a section's."""
    for name in section.model_fields:
        own = section_class(section, name)
        yield prefix + name, own is not None
        if own is not None:
            yield from _all_keys(own, f"{prefix}{name}.")


def section_class(section: type[Section], name: str) -> type[Section] | None:
    """Find the class of a section's field, to explain errors in it; None for a plain setting."""
    field = section.model_fields.get(name)
    if field is None:
        return None
    candidates = (field.annotation, *get_args(field.annotation))
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None

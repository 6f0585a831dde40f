"""Contents of files that are read: whatever the bytes are, a value or one error in one line.

Whoever reads a file from disk reads it through here. A missing file, bytes that are no text, text
that is no JSON or YAML, values nested without end, halves of characters, numbers beyond every
machine's and fields of other types all come out as a `UserError` or a `ValueError` that says what
is wrong, never as another exception and never as a value that breaks what works with it later.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from declutch.ground.errors import UserError

MAX_DEPTH = 64
"""How deep values may be nested; what is deeper was not written by us and breaks recursions."""
MAX_YAML_BYTES = 1_000_000
"""How long a YAML text may be; a configuration has a few thousand bytes."""
MAX_YAML_NODES = 20_000
"""How many values a YAML text may hold once its aliases are followed."""

_LARGEST_INTEGER = 10**100
# What has to be looked at one by one: halves of characters, no numbers, overflows, long numbers.
# Each is a search of its own, since one for all of them would try all at every character.
_SUSPECT = (
    re.compile(r"\\u[dD][89a-fA-F]"),
    re.compile(r"NaN|Infinity"),
    # A number ends where the value ends. A digest has such signs, too, but goes on.
    re.compile(r"[eE]\+?\d{3,}(?:[\s,\]}]|$)"),
)
_LONG_NUMBER = re.compile(r"\d{100}")
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_PLAIN = (str, int, float, bool, type(None))

T = TypeVar("T")


def read_text(path: Path, what: str = "") -> str:
    """Read the contents of a text file, UTF-8 or an error.

    Args:
        what: how messages call the file; "" for its path.
    Raises:
        UserError: no such file, no right to read it, or bytes that are no UTF-8.
    """
    name = what or str(path)
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is damaged: byte {error.start} is not UTF-8 text") from None


def parse_json(text: str | bytes, is_lenient: bool = False) -> Any:
    """Parse the contents of a JSON file as plain data that nothing later stumbles over.

    Args:
        is_lenient: put null for numbers that are not finite and "?" for halves of characters
            instead of keeping the former and refusing the latter.
    Raises:
        ValueError: one line that says what is wrong.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        data = json.loads(text, strict=not is_lenient)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8 text") from None
    return _check_tree(data, is_lenient, _is_suspect(text))


def parse_record(kind: type[T], text: str | bytes) -> T:
    """Parse the contents of a JSON file as a record, every field of which is there and of its type.

    Args:
        kind: a dataclass, or any type that pydantic knows.
    Raises:
        ValueError: one line that names the field and says what is wrong with it.
    """
    wanted: Any = kind
    try:
        record: T = _adapter(wanted).validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from None
    return record


def parse_yaml(text: str) -> Any:
    """Parse the contents of a YAML file: mappings with names as keys, lists and plain values.

    Raises:
        ValueError: one line that says what is wrong.
    """
    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"it has {len(text)} characters, more than {MAX_YAML_BYTES}")
    try:
        data = yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    # A tag that does not fit its value makes the constructors raise whatever they meet.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    _check_yaml(data)
    return data


def is_unreadable(text: str) -> bool:
    """Whether a text of a file's contents holds half of a character, which no file can hold."""
    return not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text)


class _Loader(yaml.SafeLoader):
    """Safe, and merge keys cannot grow a mapping without bound."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MAX_YAML_NODES:
            raise ValueError(f"merge keys make more than {MAX_YAML_NODES} values")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    # A key that was renamed is one that is missing and one too many; the latter says more.
    problem = next((each for each in problems if each["type"] in _UNKNOWN), problems[0])
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in _UNKNOWN:
        return f"{place} is no field of it"
    message = " ".join(problem["msg"].split())
    return f"{place}: {message}" if place else message


def _is_suspect(text: str) -> bool:
    """Whether a JSON text may hold a value that has to be looked at."""
    if any(sign.search(text) for sign in _SUSPECT):
        return True
    # A hundred digits in a row fill at least one of the pieces of fifty that the text is cut into.
    has_digits = any(text[start : start + 50].isdigit() for start in range(0, len(text), 50))
    return has_digits and _LONG_NUMBER.search(text) is not None


def _check_tree(data: Any, is_lenient: bool, is_suspect: bool) -> Any:
    """Check a JSON value level by level; only a suspect one is looked at value by value."""
    level = [data]
    for _ in range(MAX_DEPTH):
        if is_suspect:
            level = [_check_values(each, is_lenient) for each in level]
        deeper: list[Any] = []
        for each in level:
            values = each.values() if isinstance(each, dict) else each
            if isinstance(each, dict | list):
                deeper += [value for value in values if isinstance(value, dict | list)]
        if not deeper:
            return _check_value(data, is_lenient) if is_suspect else data
        level = deeper
    raise ValueError(_too_deep())


def _check_values(holder: Any, is_lenient: bool) -> Any:
    """Check what a list or mapping holds directly, in place."""
    if isinstance(holder, dict):
        for key in list(holder):
            if is_unreadable(key):
                raise ValueError("a key holds half of a character (a lone surrogate)")
            holder[key] = _check_value(holder[key], is_lenient)
    elif isinstance(holder, list):
        holder[:] = [_check_value(value, is_lenient) for value in holder]
    return holder


def _check_value(value: Any, is_lenient: bool) -> Any:
    if isinstance(value, str) and is_unreadable(value):
        if is_lenient:
            return value.encode("utf-8", "replace").decode("utf-8")
        raise ValueError("a text holds half of a character (a lone surrogate)")
    if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        raise ValueError("a whole number has more than 100 digits")
    if is_lenient and isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check_yaml(data: Any) -> None:
    level, count = [data], 0
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for value in level:
            count += 1
            if count > MAX_YAML_NODES:
                raise ValueError(f"its aliases make more than {MAX_YAML_NODES} values")
            deeper += _parts_of_yaml(value)
        if not deeper:
            return
        level = deeper
    raise ValueError(_too_deep())


def _parts_of_yaml(value: Any) -> list[Any]:
    """What a YAML value is made of, after a look at itself."""
    if isinstance(value, Mapping):
        strange = next((key for key in value if not isinstance(key, str)), None)
        if strange is not None or None in value:
            raise ValueError(f"{strange!r} stands where the name of a setting belongs")
        return [*value.values(), *value]
    if isinstance(value, list):
        return value
    if isinstance(value, datetime.date):
        raise ValueError(f"{value} is read as a date; put it in quotes")
    if not isinstance(value, _PLAIN):
        raise ValueError(f"a {type(value).__name__} is no value of a setting")
    if isinstance(value, str) and is_unreadable(value):
        raise ValueError("a text holds half of a character (a lone surrogate)")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(".nan is no value of a setting")
    if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        raise ValueError("a whole number has more than 100 digits")
    return []


def _too_deep() -> str:
    return f"values are nested deeper than {MAX_DEPTH} levels"

"""The page docs/reference/api.md: what a program may use of the package, made of its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import declutch

INTRODUCTION = """# Python

What `import declutch` offers to programs. Each name is loaded when it is first asked for, so that
the import itself takes no time. The settings that `load_config` reads are in
[settings.md](settings.md).
"""

_KINDS: tuple[tuple[str, Callable[[object], bool]], ...] = (
    ("Functions", inspect.isfunction),
    ("Classes and protocols", inspect.isclass),
)
_SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Source):(.*)")
_ENTRY = re.compile(r"([\w, .]+): (.*)")


def api_page() -> str:
    """Make the reference page docs/reference/api.md: every public name of the Python package."""
    parts = [INTRODUCTION]
    for title, is_kind in _KINDS:
        parts.append(f"## {title}\n")
        for name in declutch.__all__:
            value = getattr(declutch, name)
            if is_kind(value):
                parts.append(f"### {name}\n\n{''.join(_describe(name, value))}")
    return "\n".join(parts)


def _describe(name: str, value: Any) -> Iterator[str]:
    if inspect.isfunction(value):
        yield f"```python\n{name}{_signature(value)}\n```\n\n"
    yield from _prose(inspect.getdoc(value) or "")
    methods = [
        (each, member)
        for each, member in inspect.getmembers_static(value)
        if inspect.isclass(value)
        and not each.startswith("_")
        and inspect.isfunction(member)
        # Those of its own, and not what a library's base class offers besides.
        and str(member.__module__).startswith("declutch")
    ]
    for each, member in methods:
        first = (inspect.getdoc(member) or "").partition("\n")[0]
        yield f"- `{each}{_signature(member)}`: {first}\n"
    if methods:
        yield "\n"


def _signature(function: Callable[..., Any]) -> str:
    """How a function is called, with types as they are written and without `self`."""
    signature = inspect.signature(function)
    shown = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    text = str(signature.replace(parameters=shown))
    # A function that is a default is shown with its place in memory.
    text = re.sub(r"<function ([\w.]+) at \w+>", r"\1", text)
    return text.replace("''", '""').replace("'", "")


def _prose(text: str) -> Iterator[str]:
    """A docstring as Markdown: its paragraphs, and its sections as lists."""
    for block in re.split(r"\n(?=(?:Args|Returns|Raises|Attributes|Source):)", text):
        match = _SECTION.match(block)
        if match is None:
            yield f"{block.strip()}\n\n"
            continue
        lines = [match[2].strip(), *inspect.cleandoc(block[match.end() :]).splitlines()]
        yield f"{match[1]}:\n\n"
        for item in _items(line for line in lines if line.strip()):
            entry = _ENTRY.match(item)
            yield f"- `{entry[1]}`: {entry[2]}\n" if entry else f"- {item}\n"
        yield "\n"


def _items(lines: Iterator[str]) -> list[str]:
    """Entries of a section; what is indented goes on with the entry above it."""
    items: list[str] = []
    for line in lines:
        if line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        else:
            items.append(line.strip())
    return items

"""What the tests read of the pages for people: their links, code blocks, commands and settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)


def page_name(page: Path) -> str:
    """The path of a page below the repository's root."""
    return page.relative_to(ROOT).as_posix()


def find_links(text: str) -> Iterator[str]:
    """The targets of all links of a page but those to other hosts."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`]*`", "`code`", prose)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target:
            yield target


def find_anchors(text: str) -> set[str]:
    """What the headings of a page are called in links to them."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def find_blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def find_inline_code(text: str) -> list[str]:
    """The pieces of code within the sentences and tables of a page."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def write_modules(text: str, folder: Path) -> list[str]:
    """Write the Python blocks of a page that begin with the name of their file; gives the names."""
    names = []
    for block in find_blocks(text, "python"):
        match = re.match(r"# (\w+\.py)\n", block)
        if match:
            (folder / match[1]).write_text(block, encoding="utf-8")
            names.append(match[1])
    return names


def find_command_lines(text: str) -> list[list[str]]:
    """The command lines of the shell blocks of a page, as words, with `$VARIABLE` filled in.

    A variable has the value that the block gives it, in a loop the first one; a variable of the
    machine has its own name.
    """
    found = []
    for block in find_blocks(text, "sh"):
        variables = dict(re.findall(r"^(\w+)=(\S+)$", block, flags=re.MULTILINE))
        variables |= dict(re.findall(r"^\s*for (\w+) in (\S+)", block, flags=re.MULTILINE))
        for line in block.replace("\\\n", " ").splitlines():
            for name in re.findall(r"\$(\w+)", line):
                line = line.replace(f"${name}", variables.get(name, name))
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words:
                    found.append(words)
    return found

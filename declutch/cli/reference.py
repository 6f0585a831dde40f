"""The pages of docs/reference/ that are made of the code: all commands, settings, metrics, names.

`python -m declutch.cli.reference docs/reference` writes them anew; a test says so where a page is
not what the code would make of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

from declutch.cli.api import api_page
from declutch.cli.help import meaning_of, name_of
from declutch.cli.main import app
from declutch.cli.options import GivenSettings
from declutch.cli.settings import settings_page, unescape_code
from declutch.ground.files import write_atomically
from declutch.report.drawers.markdown import draw_markdown
from declutch.report.metric_list import metrics_page
from declutch.report.sheet import Cell, Sheet, SheetRow, words

INTRODUCTION = """# Commands

`declutch --help` lists the commands, and `declutch COMMAND --help` says the same as this page. An
option that takes several values takes them with commas (`--levels L0,L1`) or is repeated.

A command with `[KEY=VALUE]...` in its heading takes [settings](settings.md), such as
`optimizer.lr=2e-4`, and the option `--config FILE.yaml`, `-c` for short, which names a file of
settings. Where that option is repeated, each file is laid over those before it; the arguments win
over all files.
"""

GIVEN = {field.name for field in fields(GivenSettings)}
"""Names of the parameters that the introduction is about, for all commands."""


def cli_page() -> str:
    """Make the reference page docs/reference/cli.md: every command, its arguments and options."""
    parts = [INTRODUCTION]
    heading = ""
    for name, command in _commands(typer.main.get_command(app), "declutch"):
        panel = str(command.rich_help_panel)
        if panel != heading:
            parts.append(f"## {panel}\n")
            heading = panel
        sheet = command_sheet(name, command)
        if sheet.rows:
            parts.append(draw_markdown(sheet))
        else:
            parts.append(f"### {sheet.title}\n\n{sheet.header}\n")
    return unescape_code("\n".join(parts))


def command_sheet(name: str, command: Any) -> Sheet:
    """Make the table of one command's arguments and options for its reference page."""
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    listed = [param for param in shown if param.name not in GIVEN]
    arguments = [name_of(param) for param in shown if param.param_type_name == "argument"]
    return Sheet(
        title=" ".join([name, *arguments]),
        header=" ".join(command.help.split()),
        columns=(words("argument or option"), words("meaning")),
        rows=tuple(
            SheetRow((Cell(name_of(param)), _meaning(param)))
            for kind in ("argument", "option")
            for param in listed
            if param.param_type_name == kind
        ),
    )


def _commands(group: Any, prefix: str, panel: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden, with the words it is called by; groups spread out."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if panel:
            command.rich_help_panel = panel
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}", command.rich_help_panel)
        else:
            yield f"{prefix} {name}", command


def _meaning(param: Any) -> Cell:
    text, default = meaning_of(param)
    return Cell(text, detail=default)


PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "api.md": api_page,
}
"""What makes each page, by the name of its file."""


def write_pages(folder: Path) -> None:
    """Write every reference page that is made of the code into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        write_atomically(folder / name, make())


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))

"""`declutch settings`: every setting with its values, its default and its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.terminal import console, show
from declutch.ground.errors import UserError, nearest

if TYPE_CHECKING:
    from declutch.config.listing import SettingsSection
    from declutch.report.sheet import Sheet

INTRODUCTION = """# Settings

A file of settings is YAML with a mapping for each section. An argument of the form
`section.key=value` wins over the file. Where a default is null, the meaning says what that stands
for. `declutch settings` prints this page, and `declutch settings SECTION` a part of it; it is made
of the docstrings in `declutch/config/`.
"""


def settings_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[SECTION|KEY]", help="A section such as gcd, or a key such as optimizer.lr."
        ),
    ] = "",
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, as in docs/reference/settings.md.")
    ] = False,
) -> None:
    """Print all settings, those of a section, or one: default, meaning and values."""
    if as_markdown:
        typer.echo(settings_page(name), nl=False)
    else:
        show([settings_sheet(section) for section in find_settings(name)], console)


def settings_page(name: str = "") -> str:
    """The page that the command `declutch settings --markdown` prints, or a section's part."""
    from declutch.report.drawers.markdown import draw_markdown

    tables = [draw_markdown(settings_sheet(section)) for section in find_settings(name)]
    return unescape_code("\n".join(tables if name else [INTRODUCTION, *tables]))


def unescape_code(page: str) -> str:
    """Let backticks mark code again in the Markdown page of `declutch settings`."""
    return page.replace("\\`", "`")


def find_settings(name: str) -> Sequence[SettingsSection]:
    """For the command `declutch settings NAME`: what is documented under a name; "" for all.

    Raises:
        UserError: there is no such section or setting.
    """
    from declutch.config.listing import list_settings

    sections = list_settings()
    chosen = [s for s in sections if not name or f"{s.name}.".startswith(f"{name}.")]
    if chosen:
        return chosen
    for section in sections:
        settings = tuple(s for s in section.settings if s.key == name)
        if settings:
            chosen.append(replace(section, settings=settings))
    if not chosen:
        names = dict.fromkeys(section.name for section in sections if section.name)
        keys = dict.fromkeys(s.key for section in sections for s in section.settings)
        hint = nearest(name, (*names, *keys))
        if hint.startswith("; known"):
            hint = nearest("", tuple(names))
        raise UserError(f"there is no section or setting {name!r}{hint}")
    return chosen


def settings_sheet(section: SettingsSection) -> Sheet:
    """Make the table that the command `declutch settings` prints of one section."""
    from declutch.report.sheet import Cell, Sheet, SheetRow, words

    return Sheet(
        title=section.title or "seed, threads, processes",
        header=section.meaning,
        columns=(words("setting"), words("default"), words("meaning (values)")),
        rows=tuple(
            SheetRow((Cell(s.key), Cell(s.default), Cell(s.meaning, detail=f"({s.values})")))
            for s in section.settings
        ),
    )

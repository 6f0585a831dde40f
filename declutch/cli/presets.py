"""`declutch presets`: the files of settings that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.terminal import console, show

if TYPE_CHECKING:
    from declutch.report.sheet import Sheet


def presets_command(
    name: Annotated[
        str, typer.Argument(help="Print the file of this preset instead of the list.")
    ] = "",
) -> None:
    """List the presets: settings that come with the package, for --config."""
    if not name:
        show([presets_sheet()], console)
        return
    from pathlib import Path

    from declutch.config.preset import find_settings_file

    typer.echo(find_settings_file(Path(name)).read_text(encoding="utf-8"), nl=False)


def presets_sheet() -> Sheet:
    """Make the table that the command `declutch presets` prints: names, and what each is for."""
    from declutch.config.preset import list_presets
    from declutch.report.sheet import Cell, Sheet, SheetRow, words

    return Sheet(
        title="presets",
        header="--config NAME takes one of them; given again, one is laid over those before it",
        columns=(words("name"), words("settings")),
        rows=tuple(
            SheetRow((Cell(preset.name), Cell(preset.description))) for preset in list_presets()
        ),
    )

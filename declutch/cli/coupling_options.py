"""Options that all `declutch coupling` commands share: samples, precision, where results go."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from declutch.cli.terminal import console, show
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from declutch.coupling.figure_data import FigureData
    from declutch.coupling.measured import MeasuredModel
    from declutch.coupling.samples import LabelledSample, SampleFile
    from declutch.report.sheet import Sheet


@dataclass(frozen=True)
class SampleOptions:
    """Options of `declutch coupling` commands: which samples, and how the model computes."""

    samples: Annotated[
        Path | None,
        typer.Option(
            help="Labelled samples as JSONL, one object a line: prompt_ids and response_ids (or "
            "prompt and response as text), label 0 or 1, domain in or out, and optionally episode, "
            "advantage and id."
        ),
    ] = None
    dtype: Annotated[
        str,
        typer.Option(
            help="float64, which is computed as such throughout, or float32; auto takes float64 "
            "for models of up to 20 M parameters."
        ),
    ] = "auto"
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto"
    end_token: Annotated[
        bool,
        typer.Option(
            "--end-token/--no-end-token",
            help="End each response that is given as text with the tokenizer's end token.",
        ),
    ] = True

    def load(self, model: Path) -> tuple[MeasuredModel, tuple[LabelledSample, ...], list[str]]:
        """Load the model, the samples that fit it, and warnings about them. Raises UserError."""
        from declutch.coupling.measured import load_measured

        self.check()
        measured = load_measured(model, self.dtype, self.device, self.end_token)
        found = self.read(measured)
        return measured, found.samples, list(found.warnings)

    def check(self) -> Path:
        """The file of samples, which is there. Raises UserError."""
        if self.samples is None:
            raise UserError(
                "give the samples: --samples FILE.jsonl; `declutch coupling samples` has a model "
                "play for them"
            )
        if not self.samples.is_file():
            raise UserError(f"there is no file {self.samples}; give samples as JSONL")
        return self.samples

    def read(self, measured: MeasuredModel) -> SampleFile:
        """Read the samples that fit a model that is there already. Raises UserError."""
        return measured.read_samples(self.check())


@dataclass(frozen=True)
class ResultOptions:
    """Options of `declutch coupling` commands: where the results go."""

    json: Annotated[
        Path | None, typer.Option("--json", help="A JSON file to write the numbers to.")
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="A folder to write tables, figures and numbers to.")
    ] = None

    def give(
        self,
        stem: str,
        data: Mapping[str, Any],
        sheets: Sequence[Sheet],
        figures: Sequence[FigureData],
        warnings: Sequence[str],
    ) -> None:
        """Print a diagnostic's tables and warnings, and write its results. Raises UserError."""
        from declutch.coupling.figures import write_figures
        from declutch.coupling.output import write_json, write_tables

        show([sheet for sheet in sheets if not sheet.is_detail])
        warn(warnings)
        data = {**data, "warnings": list(warnings)}
        if self.json is not None:
            write_json(self.json, data)
            console.print(f"numbers: {self.json}", soft_wrap=True)
        if self.out is not None:
            write_json(self.out / f"{stem}.json", data)
            write_tables(self.out, stem, sheets)
            console.print(f"tables: {self.out / f'{stem}.md'}", soft_wrap=True)
            if figures:
                write_figures(self.out / "figures", figures)
                console.print(f"figures: {self.out / 'figures'}", soft_wrap=True)


def warn(warnings: Sequence[str]) -> None:
    """What all `declutch coupling` options share: warnings go to standard error, one a line."""
    from rich.console import Console

    terminal = Console(stderr=True)
    for warning in warnings:
        terminal.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False, soft_wrap=True)


def command_line() -> str:
    """Of options that all coupling commands share: the command line, as captions give it."""
    return shlex.join(["declutch", *sys.argv[1:]])

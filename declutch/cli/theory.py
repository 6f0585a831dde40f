"""`declutch theory`: every lemma, theorem and remark of both papers, computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import grouped
from declutch.cli.terminal import console, reported, show
from declutch.ground.errors import UserError


@dataclass(frozen=True)
class TheoryJob:
    """Options of `declutch theory`: which claims are checked, where, and what is written."""

    claim: Annotated[
        list[str] | None,
        typer.Option(
            "--claim",
            metavar="ID",
            help="Check only this claim: an id, an id without its reading, or the beginning of "
            "ids, such as RM-A.2. It can be repeated. The numbers of each are printed.",
        ),
    ] = None
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="NAME=VALUE",
            help="Move the worked example of the claims, such as --at q=0.4. It can be repeated. "
            "Verdicts come from a grid and stay.",
        ),
    ] = None
    json: Annotated[
        Path | None, typer.Option("--json", help="A JSON file to write claims and numbers to.")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A folder for the page, the tables as Markdown and CSV, and the figures.",
        ),
    ] = None


@grouped
def theory_command(job: TheoryJob) -> None:
    """Check every claim that the papers print: exactly, and on simulated groups.

    A claim is computed in each way it can be read, and holds, fails, or holds only under a
    condition.
    """
    given = split_numbers_at(job.at or [])

    from declutch.coupling.figures import write_figures
    from declutch.coupling.output import write_json, write_tables
    from declutch.coupling.theory.page import render_theory
    from declutch.coupling.theory.portraits import theory_figures
    from declutch.coupling.theory.registry import check_claims, select_claims, theory_data
    from declutch.coupling.theory.table import claims_sheets, numbers_sheet, theory_page
    from declutch.ground.files import write_atomically

    claims = select_claims(job.claim or [])
    with reported("checking claims") as report:
        checked = check_claims(claims, given, report)
    if job.claim:
        show([numbers_sheet(each) for each in checked])
    else:
        show(claims_sheets(checked))
    if job.json is not None:
        write_json(job.json, theory_data(checked))
        console.print(f"numbers: {job.json}", soft_wrap=True)
    if job.out is not None:
        write_json(job.out / "theory.json", theory_data(checked))
        write_tables(job.out, "theory", claims_sheets(checked))
        write_atomically(job.out / "theory.md", theory_page(checked))
        console.print(f"tables: {job.out / 'theory.md'}", soft_wrap=True)
        figures = theory_figures()
        write_figures(job.out / "figures", figures)
        console.print(f"figures: {job.out / 'figures'}", soft_wrap=True)
        write_atomically(job.out / "theory.html", render_theory(checked, figures))
        console.print(f"page: {job.out / 'theory.html'}", soft_wrap=True)


def split_numbers_at(values: Sequence[str]) -> dict[str, float]:
    """`declutch theory --at`: read NAME=VALUE items as numbers. Raises UserError."""
    found: dict[str, float] = {}
    for item in values:
        name, sign, text = item.partition("=")
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not sign or not name or number != number or abs(number) == float("inf"):
            raise UserError(f"--at {item!r} is no NAME=VALUE with a number, such as --at q=0.4")
        found[name.strip()] = number
    return found

"""The tables of the theory: every claim with its verdict, and one claim with all its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.coupling.theory.findings import Finding, Numbers
from declutch.coupling.theory.names import meaning_of
from declutch.coupling.theory.registry import Checked, stem_of
from declutch.report.cells import DASH, format_number
from declutch.report.drawers.markdown import draw_markdown
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, Tone, words

TITLES = {
    "GC": "GC: Gradient Coupling",
    "RM": "RM: Rethinking Reward Miscalibration",
}
_TONES: dict[str, Tone] = {"holds": "up", "fails": "down", "holds only if": "warn"}


def claims_sheets(checked: Sequence[Checked]) -> list[Sheet]:
    """Tables of the theory's claims and verdicts, one a paper, readings below their claim."""
    return [
        _paper_sheet(paper, [each for each in checked if each.claim.paper == paper])
        for paper in TITLES
        if any(each.claim.paper == paper for each in checked)
    ]


def _paper_sheet(paper: str, checked: Sequence[Checked]) -> Sheet:
    rows: list[SheetRow] = []
    last = ""
    for each in checked:
        heading = f"{each.claim.place}: {each.claim.claim}"
        if heading != last:
            rows.append(SheetRow((Cell(heading),), role="heading"))
            last = heading
        finding = each.finding
        rows.append(
            SheetRow(
                (
                    Cell(each.claim.id, detail=each.claim.reading),
                    Cell(finding.verdict, tone=_TONES[finding.verdict]),
                    Cell(evidence(finding)),
                )
            )
        )
    columns = (words("claim and reading"), words("verdict"), words("condition or counterexample"))
    counts = ", ".join(
        f"{sum(each.finding.verdict == verdict for each in checked)} {verdict}"
        for verdict in _TONES
    )
    claims = len({stem_of(each.claim.id) for each in checked})
    note = f"{claims} claims in {len(checked)} readings: {counts}."
    return Sheet(TITLES[paper], columns, tuple(rows), notes=(note,))


def evidence(finding: Finding) -> str:
    """What a table of the theory shows for a verdict: the condition, a counterexample, or both."""
    parts = []
    if finding.verdict == "holds only if":
        parts.append(finding.condition)
    if finding.counterexample is not None and finding.verdict != "holds":
        parts.append("not at " + describe(finding.counterexample))
    return "; ".join(parts) or DASH


def describe(numbers: Numbers) -> str:
    """Numbers of the theory's tables in a line: "q = 0.3, r = 0.4"."""
    return ", ".join(f"{name} = {_short(value)}" for name, value in numbers.items())


PAGE_HEAD = """# The papers' theory, computed

This page is made by `declutch theory --out FOLDER`, which writes it as `theory.md`. It lists every
lemma, theorem, remark, condition and bound of GC and RM in each way it can be read, with its
verdict. [guides/theory.md](../guides/theory.md) says how to read it and how to compute any line
again with `declutch theory --claim ID`.
"""


def theory_page(checked: Sequence[Checked]) -> str:
    """The theory's table as a Markdown text, which docs/results/theory.md is a copy of."""
    return "\n".join([PAGE_HEAD, *map(draw_markdown, claims_sheets(checked))])


def numbers_sheet(checked: Checked) -> Sheet:
    """Table of the theory with every number of one claim and what it means."""
    claim, finding = checked.claim, checked.finding
    rows = [_number_row(name, value) for name, value in finding.numbers.items()]
    if finding.counterexample is not None:
        rows.append(SheetRow((Cell("counterexample"),), role="heading"))
        rows += [_number_row(name, value) for name, value in finding.counterexample.items()]
    columns = (words("number"), Column("value"), words("meaning"))
    verdict: str = finding.verdict
    if finding.verdict == "holds only if":
        verdict += f" {finding.condition}"
    return Sheet(
        f"{claim.id} ({claim.paper}, {claim.place})",
        columns,
        tuple(rows),
        header=claim.claim,
        notes=(f"Reading: {claim.reading}", f"Verdict: {verdict}."),
    )


def _number_row(name: str, value: float | int | None) -> SheetRow:
    cell = Cell(DASH) if value is None else Cell(format_number(float(value), 6), float(value))
    return SheetRow((Cell(name), cell, Cell(meaning_of(name))))


def _short(value: float | int | None) -> str:
    # Adding 0 takes the sign off a zero.
    return DASH if value is None else format_number(float(value) + 0.0, 3)

"""Table of findings: what was checked before a run, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.ground.errors import Finding, Status
from declutch.report.sheet import Cell, Sheet, SheetRow, Tone, words

_MARKS: dict[Status, tuple[str, Tone]] = {
    Status.OK: ("✓", "up"),
    Status.WARN: ("!", "warn"),
    Status.PROBLEM: ("✗", "down"),
}


def findings_sheet(findings: Sequence[Finding]) -> Sheet:
    """Report table of findings, of `declutch doctor` or `envs check`, remedies below each."""
    lines = []
    for finding in findings:
        mark, tone = _MARKS[finding.status]
        found = Cell(
            text=finding.detail,
            detail=f"→ {finding.remedy}" if finding.remedy else "",
            tone="" if finding.status is Status.OK else tone,
        )
        lines.append(SheetRow((Cell(mark, tone=tone), Cell(finding.name), found)))
    return Sheet("", (words(""), words("checked"), words("found")), tuple(lines))

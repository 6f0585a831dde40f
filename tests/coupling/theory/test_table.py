"""The tables of the theory show verdicts with their evidence, and the page in docs is current."""

import pytest
from pages import ROOT

from declutch.coupling.theory.registry import CLAIMS, check_claims, select_claims
from declutch.coupling.theory.table import claims_sheets, evidence, numbers_sheet, theory_page


def test_readings_stand_below_their_claim():
    found = check_claims(select_claims(["GC-B.1-exceptions"]))
    (sheet,) = claims_sheets(found)
    assert [row.role for row in sheet.rows] == ["heading", "plain", "heading", "plain"]
    verdict, shown = sheet.rows[1].cells[1:]
    assert (verdict.text, verdict.tone) == ("holds only if", "warn")
    assert shown.text == evidence(found[0].finding)
    assert shown.text.startswith("q > 0; not at q = 0,")
    assert "2 claims" not in sheet.notes[0]
    numbers = numbers_sheet(found[0])
    assert numbers.notes[1] == "Verdict: holds only if q > 0."
    assert all(row.cells[-1].text for row in numbers.rows)


@pytest.mark.long
def test_the_page_in_docs_is_what_the_command_writes():
    page = (ROOT / "docs" / "results" / "theory.md").read_text(encoding="utf-8")
    assert theory_page(check_claims(CLAIMS)) == page, (
        "run `declutch theory --out FOLDER` and copy FOLDER/theory.md to docs/results/theory.md"
    )

"""The page of the theory has verdicts, figures with their data, and loads nothing."""

import json
import re

from declutch.coupling.theory.page import render_theory
from declutch.coupling.theory.portraits import theory_figures
from declutch.coupling.theory.registry import check_claims, select_claims


def test_the_page_holds_verdicts_and_figures():
    page = render_theory(check_claims(select_claims(["GC-B.1-algebra"])), theory_figures())
    assert "GC-B.1-algebra.chain" in page
    assert 'id="figure-4"' in page
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    figures = json.loads(found[1])["figures"]
    assert [each["name"] for each in figures] == [each.name for each in theory_figures()]
    assert "http-equiv" in page
    assert not re.search(r'(src|href)="http', page)

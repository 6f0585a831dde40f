"""How a verdict is made of a grid, and how a worked example is moved."""

import pytest

from declutch.coupling.theory.findings import Claim, Finding, counted, decide, first_wrong, worst
from declutch.ground.errors import UserError


@pytest.mark.parametrize(
    ("is_true", "meets", "verdict"),
    [
        ([True, True], None, "holds"),
        ([True, False], None, "fails"),
        ([True, False], [True, False], "holds only if"),
        ([True, False], [True, True], "fails"),
        ([True, False], [False, False], "fails"),
        ([True, True], [True, False], "holds"),
    ],
)
def test_verdicts(is_true, meets, verdict):
    assert decide(is_true, meets) == verdict


def test_a_grid_is_counted_and_a_wrong_case_is_picked():
    assert counted([True, False, False], [True, False, True]) == {
        "grid_cases": 3,
        "grid_wrong": 2,
        "grid_meeting_condition": 2,
        "grid_wrong_meeting_condition": 1,
        "grid_right_without_condition": 0,
    }
    columns = {"q": [0.1, 0.2, 0.3]}
    assert first_wrong([True, False, False], columns) == {"q": 0.2}
    assert first_wrong([True, True, True], columns) is None
    assert worst([0.0, float("nan"), 2.0], columns) == {"q": 0.3}


def test_parameters_of_an_example_are_checked():
    def check(q: float = 0.5, steps: int = 2) -> Finding:
        if q == 1:
            raise ValueError("no logit")
        return Finding("holds", {"q": q, "steps": steps})

    claim = Claim("GC-1.a", "GC", "here", "it is so", "plainly", check)
    assert claim.find({"q": 0.25, "steps": 3.0, "unknown": 1.0}).numbers == {"q": 0.25, "steps": 3}
    for given, message in (
        ({"q": 1.5}, r"q=1.5 of GC-1.a is not within \[0, 1\]"),
        ({"steps": 2.5}, "whole number"),
        ({"q": 1.0}, "cannot be computed at q=1, steps=2: no logit"),
    ):
        with pytest.raises(UserError, match=message):
            claim.find(given)

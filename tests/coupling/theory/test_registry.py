"""The registry names every claim once, and verdicts that can be derived by hand are found."""

import json
from itertools import pairwise

import pytest

from declutch.coupling.theory.registry import (
    CLAIMS,
    check_claims,
    select_claims,
    stem_of,
    theory_data,
)
from declutch.ground.errors import UserError

BY_HAND = {
    # q r (q - 1) is the joint expectation; given the action it is r (q - 1); a group's own mean
    # takes the share 1 / G away; leave-one-out does not.
    "GC-L3.1-value.joint": "holds",
    "GC-L3.1-value.conditional": "fails",
    "RM-L3.1-value.group-mean": "fails",
    "RM-L3.1-value.leave-one-out": "holds",
    "RM-L3.1-value.grpo": "fails",
    # A success is never credited less than a failure, so a deviation keeps the sign.
    "GC-L3.1-sign.grpo": "holds",
    "GC-B.1-exceptions.harmful": "holds only if",
    "RM-3.1-assumption.bayes": "fails",
    "RM-T3.2-increase.first-order": "fails",
    "RM-T3.2-increase.corrected": "holds",
    "RM-T3.2-gap.log-odds": "holds",
    "RM-T3.2-gap.probabilities": "holds only if",
    "RM-A.2-eq13.second-less-third-printed": "fails",
    "RM-A.2-eq13.second-less-third-corrected": "holds",
    "RM-A.2-eq12.inequality": "holds only if",
    "RM-TA.1.as-printed": "fails",
    "RM-TA.1.with-ln": "holds only if",
    "RM-TA.1.sharper": "holds",
    "RM-TA.1.equality": "fails",
    "GC-3.2-parabola.joint": "holds",
    "GC-3.2-parabola.conditional": "fails",
    "GC-3.2-danger-zone.boundary-constant": "fails",
    "GC-3.2-safe-regime.resists-constant": "holds only if",
    "GC-4-eq2.read-out": "holds",
    "GC-4-eq2.all-parameters": "fails",
}


def test_ids_are_unique_and_tell_the_paper():
    ids = [claim.id for claim in CLAIMS]
    assert len(set(ids)) == len(ids)
    assert all(claim.id.startswith(f"{claim.paper}-") for claim in CLAIMS)
    assert {claim.paper for claim in CLAIMS} == {"GC", "RM"}


def test_readings_of_a_claim_stand_together():
    stems = [stem_of(claim.id) for claim in CLAIMS]
    changes = sum(first != second for first, second in pairwise(stems))
    assert changes == len(set(stems)) - 1


def test_verdicts_that_follow_by_hand():
    claims = [claim for claim in CLAIMS if claim.id in BY_HAND]
    found = check_claims(claims, {"groups": 200})
    assert {each.claim.id: each.finding.verdict for each in found} == BY_HAND


def test_numbers_are_named_and_given_as_json():
    claims = [*select_claims(["GC-L3.1-value.joint", "RM-TA.1.as-printed"])]
    data = theory_data(check_claims(claims, {"groups": 200}))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    lemma, theorem = data["claims"]
    assert set(lemma) >= {
        *("id", "paper", "claim", "reading", "verdict", "numbers", "counterexample"),
    }
    assert lemma["numbers"]["exact"] == pytest.approx(0.3 * 0.4 * -0.7)
    assert lemma["numbers"]["group_size"] is None
    assert lemma["counterexample"] is None
    assert theorem["counterexample"]["ln_factor"] < theorem["counterexample"]["ln_claimed"]
    assert data["names"]["ln_factor"]


def test_the_example_moves_and_the_verdict_stays():
    (claim,) = select_claims(["GC-L3.1-value.group-mean"])
    (found,) = check_claims([claim], {"q": 0.5, "p": 0.1, "r": 0.2, "groups": 200})
    assert found.finding.numbers["exact"] == pytest.approx(-0.25 * 0.2 * 7 / 8)
    assert found.finding.verdict == "fails"


@pytest.mark.parametrize(
    ("name", "count"), [("RM-TA.1", 9), ("RM-TA.1.equality", 1), ("GC-B.1-exceptions", 2)]
)
def test_claims_are_selected_by_id_or_its_beginning(name, count):
    found = select_claims([name])
    assert len(found) == count
    assert all(claim.id.startswith(name) for claim in found)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match=r"no claim .RM-TA\.2.; did you mean"):
        select_claims(["RM-TA.2"])
    with pytest.raises(UserError, match="has a parameter 'z'"):
        check_claims(select_claims(["RM-TA.1"]), {"z": 1.0})

"""The behaviour definitions by hand and against a slow, literal version."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from declutch.evaluation.behaviour import (
    ActionCounts,
    count_actions,
    describe_behaviour,
    mark_looped,
    mark_repeated,
    shares_of,
)
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId

actions_of_few = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=18)


def make_step(text: str, *, is_valid: bool = True, is_admissible: bool = True, tokens: int = 3):
    ids = torch.zeros(tokens, dtype=torch.int64)
    action = Action(text, "", "think", is_valid, is_admissible)
    return Step("", "", (), action, ids, ids, torch.zeros(tokens), 0.0)


def make_episode(steps, outcome: Outcome = Outcome.FAILED) -> Episode:
    task = TaskId("alfworld", "train", 0, "game", "look")
    return Episode(task, 0, Role.AGENT, tuple(steps), outcome, float(outcome is Outcome.WON))


def looped_literally(actions: list[str]) -> list[bool]:
    """Every position asked by itself, from the words of the definition."""
    marks = []
    for position in range(len(actions)):
        found = False
        for size in (2, 3, 4, 5, 6):
            for start in range(len(actions)):
                is_inside = start <= position < start + 2 * size <= len(actions)
                if not is_inside:
                    continue
                pairs = [(actions[start + i], actions[start + size + i]) for i in range(size)]
                is_same = all(one == two and one != "" for one, two in pairs)
                is_varied = any(one != pairs[0][0] for one, _ in pairs)
                found = found or (is_same and is_varied)
        marks.append(found)
    return marks


@settings(deadline=None)
@given(actions_of_few)
def test_loops_agree_with_the_literal_definition(actions: list[str]):
    assert mark_looped(actions) == looped_literally(actions)


@pytest.mark.parametrize(
    ("actions", "looped"),
    [
        ("abab", "1111"),
        ("abcabc", "111111"),
        ("aaaa", "0000"),
        ("abcab", "00000"),
        ("xababy", "011110"),
        ("aabaab", "111111"),
        ("ababa", "11111"),
        ("abcdefabcdef", "1" * 12),
        ("abcdefgabcdefg", "0" * 14),
    ],
)
def test_loops_by_hand(actions: str, looped: str):
    assert mark_looped(list(actions)) == [mark == "1" for mark in looped]


def test_repeats_by_hand():
    assert mark_repeated(["a", "a", "b", "a", "a", "a"]) == [False, True, False, False, True, True]
    assert mark_repeated([]) == []


def test_unreadable_actions_neither_repeat_nor_loop():
    assert not any(mark_repeated(["", "", ""]))
    assert not any(mark_looped(["", "a", "", "a"]))


@settings(deadline=None)
@given(actions_of_few)
def test_marks_do_not_depend_on_the_names(actions: list[str]):
    renamed = [{"a": "x", "b": "y", "c": "z", "": ""}[action] for action in actions]
    assert mark_looped(renamed) == mark_looped(actions)
    assert mark_repeated(renamed) == mark_repeated(actions)


def test_counts_of_an_episode():
    episode = make_episode(
        [
            make_step("go", tokens=4),
            make_step("go"),
            make_step("", is_valid=False, is_admissible=False, tokens=10),
            make_step("fly", is_admissible=False),
            make_step("fly", is_valid=False, is_admissible=False),
        ]
    )
    assert count_actions(episode) == ActionCounts(
        steps=5,
        repeated=2,
        looped=0,
        repeated_or_looped=2,
        invalid=2,
        inadmissible=1,
        response_tokens=23,
    )


def test_shares_weigh_steps_and_outcomes_are_apart():
    won = make_episode([make_step("a"), make_step("b")], Outcome.WON)
    late = make_episode([make_step("a")] * 4, Outcome.TIMED_OUT)
    lost = make_episode([make_step("a", is_valid=False)] * 2)
    behaviour = describe_behaviour([won, late, lost])
    assert behaviour.all.num_episodes == 3
    assert behaviour.all.num_steps == pytest.approx(8 / 3)
    assert behaviour.all.repeated == pytest.approx(4 / 8)
    assert behaviour.all.invalid == pytest.approx(2 / 8)
    assert behaviour.all.response_tokens == 3
    assert behaviour.won.repeated == 0
    assert behaviour.failed.num_episodes == 2
    assert behaviour.failed.repeated == pytest.approx(4 / 6)


def test_no_episodes_have_no_shares():
    shares = shares_of([])
    assert shares.num_episodes == 0
    assert math.isnan(shares.repeated)
    assert math.isnan(shares.num_steps)


def test_counts_start_at_nothing():
    names = ("steps", "repeated", "looped", "repeated_or_looped", "invalid", "inadmissible")
    assert ActionCounts() == ActionCounts(**dict.fromkeys(names, 0), response_tokens=0)


def test_shares_by_hand():
    counts = ActionCounts(
        steps=8,
        repeated=1,
        looped=2,
        repeated_or_looped=3,
        invalid=4,
        inadmissible=5,
        response_tokens=24,
    )
    shares = shares_of([counts, ActionCounts(steps=2)])
    assert (shares.num_episodes, shares.num_steps, shares.response_tokens) == (2, 5.0, 2.4)
    found = (shares.repeated, shares.looped, shares.repeated_or_looped, shares.invalid)
    assert found == (0.1, 0.2, 0.3, 0.4)
    assert shares.inadmissible == 0.5


def test_an_action_may_be_repeated_and_looped_or_either():
    episode = make_episode([make_step(text) for text in ("a", "a", "b", "a", "a", "b", "b", "c")])
    found = count_actions(episode)
    assert (found.repeated, found.looped, found.repeated_or_looped) == (3, 6, 7)

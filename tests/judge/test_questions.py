"""The choice of the steps to ask about: balanced, spread over tasks, and repeatable."""

from collections import Counter

import pytest
import torch
from builders import make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.judge.questions import Question, build_questions, select_steps, spread_steps

LABELS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=9)),
    max_size=8,
)


@given(LABELS, st.integers(1, 12), st.integers(0, 5))
def test_selection_is_balanced_labelled_and_without_repeats(
    data: list[tuple[int, list[int | None]]], count: int, seed: int
) -> None:
    episodes = [make_episode(g, [], steps=[make_step()] * len(marks)) for g, marks in data]
    labels = [tuple(marks) for _, marks in data]
    chosen = select_steps(episodes, labels, count, torch.Generator().manual_seed(seed))
    assert len(set(chosen)) == len(chosen) <= count
    assert all(labels[e][p] == value for e, p, value in chosen)
    classes = Counter(value for *_, value in chosen)
    assert abs(classes[0] - classes[1]) <= 1
    available = Counter(mark for marks in labels for mark in marks)
    assert len(chosen) == min(count, 2 * min(available[0], available[1]))


def test_tasks_take_turns() -> None:
    # One long failure of task 0 must not crowd out task 1.
    episodes = [make_episode(g, [], steps=[make_step()] * 20) for g in (0, 1)]
    labels = [(0,) * 10 + (1,) * 10] * 2
    chosen = select_steps(episodes, labels, 8, torch.Generator().manual_seed(0))
    assert Counter(e for e, _, _ in chosen) == {0: 4, 1: 4}


@pytest.mark.parametrize("seed", range(3))
def test_selection_is_a_function_of_the_stream(seed: int) -> None:
    episodes = [make_episode(g, [], steps=[make_step()] * 6) for g in range(4)]
    labels = [(0, 1, 0, 1, None, 0)] * 4
    runs = [
        select_steps(episodes, labels, 6, torch.Generator().manual_seed(seed)) for _ in range(2)
    ]
    assert runs[0] == runs[1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=8), st.integers(1, 12))
def test_spread_steps_gives_every_task_its_turn(lengths: list[tuple[int, int]], count: int) -> None:
    episodes = [make_episode(g, [], steps=[make_step()] * n) for g, n in lengths]
    chosen = spread_steps(episodes, count, torch.Generator().manual_seed(0))
    assert len(set(chosen)) == len(chosen) == min(count, sum(n for _, n in lengths))
    assert chosen == sorted(chosen)
    assert all(p < len(episodes[e].steps) for e, p in chosen)
    taken = Counter(episodes[e].group for e, _ in chosen)
    room = Counter()
    for group, length in lengths:
        room[group] += length
    # No task is asked twice more than another that has steps left.
    for group, left in room.items():
        if taken[group] < left:
            assert max(taken.values()) <= taken[group] + 1


def test_an_unreadable_answer_is_never_right() -> None:
    question = Question(3, 2, 1, "1", "good?")
    assert question.source == ""
    assert [question.is_right(answer) for answer in ("1", "0", "")] == [True, False, False]
    assert not Question(3, 2, None, "", "what next?").is_right("")


def test_questions_name_their_step_and_the_source_of_their_label() -> None:
    episodes = [make_episode(g, [], steps=[make_step()] * 2) for g in (5, 6)]
    found = build_questions(
        episodes,
        [(0, 1, 1), (1, 0, 0)],
        [("", "rule"), ("rule+llm", "")],
        lambda episode, position: f"group {episode.group}, step {position}",
    )
    assert found == [
        Question(0, 1, 1, "1", "group 5, step 1", "rule"),
        Question(1, 0, 0, "0", "group 6, step 0", "rule+llm"),
    ]


def test_an_odd_count_drops_the_last_of_a_class_that_is_drawn() -> None:
    """One more or one less step changes the choice by that step alone, and either class loses."""
    episodes = [make_episode(g, [], steps=[make_step()] * 8) for g in range(2)]
    labels = [(0, 1) * 4] * 2
    losers = []
    for seed in range(60):
        two, three, four = (
            set(select_steps(episodes, labels, count, torch.Generator().manual_seed(seed)))
            for count in (2, 3, 4)
        )
        assert two < three < four
        losers.append(next(iter(four - three))[2])
    assert 20 <= sum(losers) <= 40
    # The stream of a seed is part of what a run is.
    assert losers[:12] == LOSERS


LOSERS = [0, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0]

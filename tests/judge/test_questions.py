"""The choice of the steps to ask about: balanced, spread over tasks, and repeatable."""

from collections import Counter

import pytest
import torch
from builders import make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.judge.questions import select_steps, spread_steps

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

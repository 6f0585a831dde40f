"""Randomness as a function of (seed, use, iteration)."""

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from declutch.ground.streams import stream
from declutch.records import TaskId
from declutch.rollout.tasks import draw_tasks, fixed_order

TASKS = [TaskId("s", "train", i, f"t{i}") for i in range(7)]


def test_a_stream_is_its_names_alone() -> None:
    first = torch.rand(3, generator=stream(1, "play", 2))
    assert torch.equal(first, torch.rand(3, generator=stream(1, "play", 2)))
    for other in (stream(2, "play", 2), stream(1, "judge", 2), stream(1, "play", 3)):
        assert not torch.equal(first, torch.rand(3, generator=other))


@given(st.integers(1, 9), st.integers(0, 3), st.integers(0, 12))
def test_tasks_come_in_passes_over_all(count: int, seed: int, iteration: int) -> None:
    drawn = [t for i in range(iteration + 1) for t in draw_tasks(TASKS, count, seed, i)]
    assert len(drawn) == count * (iteration + 1)
    passes = Counter(t.index for t in drawn)
    whole = len(drawn) // len(TASKS)
    assert all(whole <= passes[t.index] <= whole + 1 for t in TASKS)


def test_the_fixed_order_depends_on_the_tasks_alone() -> None:
    assert fixed_order(TASKS) == fixed_order(TASKS[::-1])
    assert fixed_order(TASKS) != TASKS

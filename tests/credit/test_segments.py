import math

import credit_oracle as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from declutch.credit.segments import (
    STD_EPSILON,
    centre,
    centre_by_id,
    discounted_return,
    find_segments,
    segment_mean,
    segment_std,
    segment_sum,
)

GROUPED = st.lists(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=6), max_size=6
).map(lambda parts: [(value, 5 * index) for index, part in enumerate(parts) for value in part])


@given(GROUPED)
def test_statistics_equal_loops(pairs):
    values, ids = [value for value, _ in pairs], [key for _, key in pairs]
    segments = find_segments(torch.tensor(ids, dtype=torch.int64))
    column = torch.tensor(values, dtype=torch.float32)
    groups = list(oracle.segment_values(values, ids).values())
    assert segments.size.tolist() == [len(group) for group in groups]
    for found, expected in (
        (segment_sum(column, segments), [math.fsum(group) for group in groups]),
        (segment_mean(column, segments), [math.fsum(group) / len(group) for group in groups]),
        (segment_std(column, segments), [oracle.unbiased_std(group) for group in groups]),
    ):
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


@given(GROUPED, st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_discounted_return_equals_loops(pairs, gamma):
    values, ids = [value for value, _ in pairs], [key for _, key in pairs]
    segments = find_segments(torch.tensor(ids, dtype=torch.int64))
    found = discounted_return(torch.tensor(values, dtype=torch.float32), segments, gamma)
    groups = oracle.segment_values(values, ids).values()
    expected = [value for group in groups for value in oracle.discounted(group, gamma)]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_discounted_return_by_hand():
    segments = find_segments(torch.tensor([4, 4, 4, 9]))
    found = discounted_return(torch.tensor([1.0, 0.0, 8.0, 3.0]), segments, 0.5)
    assert found.tolist() == [3.0, 4.0, 8.0, 3.0]


@given(st.floats(-1e6, 1e6, width=32), st.integers(1, 9))
def test_equal_values_have_exactly_their_mean_and_no_deviation(value, count):
    segments = find_segments(torch.zeros(count, dtype=torch.int64))
    column = torch.full((count,), value, dtype=torch.float32)
    assert segment_mean(column, segments).tolist() == [value]
    assert segment_std(column, segments).tolist() == [0.0]


def test_scattered_ids_are_refused():
    with pytest.raises(ValueError, match="grouped"):
        find_segments(torch.tensor([1, 2, 1]))


def test_a_weighted_mean_by_hand():
    segments = find_segments(torch.tensor([0, 0, 0, 7]))
    values, weight = torch.tensor([4.0, 1.0, 10.0, 5.0]), torch.tensor([1.0, 4.0, 3.0, 9.0])
    found = segment_mean(values, segments, weight)
    assert found.tolist() == pytest.approx([(4 + 4 + 30) / 8, 5.0])


def test_centring_by_hand():
    values = torch.tensor([1.0, 3.0, 9.0])
    segments = find_segments(torch.tensor([0, 0, 2]))
    assert centre(values, segments, divide_by_std=False).tolist() == [-1.0, 1.0, 0.0]
    half = 1 / (math.sqrt(2) + 1e-6)
    assert centre(values, segments, divide_by_std=True).tolist() == [-half, half, 0.0]
    assert STD_EPSILON == 1e-6
    # Where the spread is as small as that, it halves what is left.
    tiny = torch.tensor([0.0, 2e-6], dtype=torch.float64)
    spread = math.sqrt(2) * 1e-6
    found = centre(tiny, find_segments(torch.tensor([1, 1])), divide_by_std=True)
    assert found.tolist() == pytest.approx([-1e-6 / (spread + 1e-6), 1e-6 / (spread + 1e-6)])


def test_centring_over_ids_in_any_order():
    values, ids = torch.tensor([1.0, 9.0, 3.0, 5.0]), torch.tensor([2, 0, 2, 0])
    assert centre_by_id(values, ids, divide_by_std=False).tolist() == [-1.0, 2.0, 1.0, -2.0]


def test_no_entries_have_no_segments():
    nothing = find_segments(torch.zeros(0, dtype=torch.int64))
    assert len(nothing) == 0
    assert discounted_return(torch.zeros(0), nothing, 0.5).tolist() == []
    two = find_segments(torch.tensor([3, 3, 8]))
    assert (len(two), two.start.tolist(), two.size.tolist()) == (2, [0, 2], [2, 1])
    assert two.index.tolist() == [0, 0, 1]

"""Drawing tokens: hand-computed cases and frequencies."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from declutch.rollout.hf.sampling import draw, keep_nucleus, sample_tokens

PROBABILITIES = torch.tensor([0.1, 0.4, 0.2, 0.3])


def grid(count: int) -> torch.Tensor:
    """Uniform numbers in the middle of `count` equal cells."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def shares(ids: list[int], size: int) -> list[float]:
    return [ids.count(i) / len(ids) for i in range(size)]


def test_a_grid_of_uniforms_gives_the_exact_distribution() -> None:
    logits = PROBABILITIES.log().expand(1000, 4)
    ids, logprobs = sample_tokens(logits, [None] * 1000, grid(1000), 1.0)
    assert shares(ids, 4) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=1e-3)
    expected = PROBABILITIES.log()[ids].tolist()
    assert logprobs == pytest.approx(expected, abs=1e-6)


def test_temperature_sharpens() -> None:
    weights = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    ids, logprobs = sample_tokens(
        PROBABILITIES.log().expand(1000, 4), [None] * 1000, grid(1000), 0.5
    )
    assert shares(ids, 4) == pytest.approx(weights.tolist(), abs=2e-3)
    assert logprobs[-1] == pytest.approx(math.log(0.09 / 0.30), abs=1e-6)


def test_a_mask_renormalises_over_what_it_allows() -> None:
    allowed = [(0, 3) if row % 2 else None for row in range(2000)]
    uniforms = grid(1000).repeat_interleave(2)
    ids, logprobs = sample_tokens(PROBABILITIES.log().expand(2000, 4), allowed, uniforms, 1.0)
    assert shares(ids[1::2], 4) == pytest.approx([0.25, 0, 0, 0.75], abs=1e-3)
    assert shares(ids[::2], 4) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=1e-3)
    assert set(torch.tensor(logprobs[1::2]).exp().round(decimals=4).tolist()) == {0.25, 0.75}


def test_masks_of_different_sizes_do_not_leak_into_each_other() -> None:
    allowed = [(2,), (0, 1, 3), (1, 2)]
    for u in (0.0, 0.5, 1 - 2**-53):
        uniforms = torch.full((3,), u, dtype=torch.float64)
        ids, logprobs = sample_tokens(torch.randn(3, 4), allowed, uniforms, 1.0)
        assert all(token in options for token, options in zip(ids, allowed, strict=True))
        assert logprobs[0] == 0.0


def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass() -> None:
    logprobs = PROBABILITIES.log()[None]
    assert keep_nucleus(logprobs, 0.65).exp()[0].tolist() == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert keep_nucleus(logprobs, 0.75).exp()[0].tolist() == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9])
    assert keep_nucleus(logprobs, 0.01).exp()[0].tolist() == pytest.approx([0, 1, 0, 0])


def test_the_nucleus_is_taken_under_the_mask() -> None:
    ids, logprobs = sample_tokens(
        PROBABILITIES.log().expand(100, 4), [(0, 2)] * 100, grid(100), 1.0, top_p=0.6
    )
    assert set(ids) == {2}
    assert logprobs == pytest.approx([0.0] * 100, abs=1e-6)


def test_temperature_zero_takes_the_most_likely_and_reports_temperature_one() -> None:
    ids, logprobs = sample_tokens(
        PROBABILITIES.log().expand(2, 4), [None, (0, 2)], grid(2), 0.0, top_p=0.1
    )
    assert ids == [1, 2]
    assert logprobs == pytest.approx([math.log(0.4), math.log(2 / 3)], abs=1e-6)


@given(
    st.lists(st.floats(-80, 80), min_size=2, max_size=40),
    st.sampled_from([0.0, 0.25, 0.5, 1 - 2**-53]),
    st.integers(0, 39),
)
def test_what_is_impossible_is_never_drawn(scores, uniform, banned) -> None:
    row = torch.tensor([scores])
    row[0, banned % len(scores)] = -torch.inf
    column, logprob = draw(row, torch.tensor([uniform], dtype=torch.float64), 1.0)
    assert int(column) != banned % len(scores)
    assert math.isfinite(float(logprob))


def test_scores_that_are_no_numbers_show_in_the_log_probability() -> None:
    _, logprobs = sample_tokens(torch.full((1, 5), torch.nan), [None], grid(1), 1.0)
    assert math.isnan(logprobs[0])

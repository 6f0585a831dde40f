"""Sampler, learner and a plain forward pass agree on every architecture that can be built tiny."""

import pytest
from _pytest.mark import ParameterSet

from benchmarks.zoo import NOT_TINY, examine, list_names, make_model, measure, ways_to_read_out

TOLERANCE, ROUGH = 1e-5, 1e-4
EXACT = 1e-6
"""Gradients in float32 may be further apart than TOLERANCE, up to ROUGH, on some processors and not
on others; that it is rounding shows in float64, where they are within EXACT."""

EVERY_DAY = {"gemma2", "gpt2", "granitemoehybrid", "lfm2", "llama", "qwen2", "qwen3_next"}
"""One of each kind of attention, state and read-out; all the others are `long`."""


def list_tried() -> list[ParameterSet | str]:
    names = [name for name in list_names() if name not in NOT_TINY]
    assert set(names) > EVERY_DAY
    return [
        name if name in EVERY_DAY else pytest.param(name, marks=pytest.mark.long) for name in names
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list_tried())
def test_every_way_of_computing_gives_the_same_numbers(name: str) -> None:
    for changes in ways_to_read_out(name):
        entry = examine(name, **changes)
        if entry.gaps is None:
            assert entry.kind, entry.reason
            assert entry.kind in entry.reason  # refused by name
        else:
            gaps = entry.gaps
            values = (gaps.sampler, gaps.learner, gaps.parts, gaps.shared)
            assert max(values) < TOLERANCE, (changes, entry)
            assert gaps.largest < ROUGH, (changes, entry)
            if gaps.largest >= TOLERANCE:
                exact = measure(make_model(name, **changes).double())
                assert exact.largest < EXACT, (changes, entry, exact)

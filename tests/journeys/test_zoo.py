"""Sampler, learner and a plain forward pass agree on every architecture that can be built tiny."""

import pytest

from benchmarks.zoo import NOT_TINY, examine, list_names, ways_to_read_out

TOLERANCE = 1e-5

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in list_names() if name not in NOT_TINY])
def test_every_way_of_computing_gives_the_same_numbers(name: str) -> None:
    for changes in ways_to_read_out(name):
        entry = examine(name, **changes)
        if entry.gaps is None:
            assert entry.kind, entry.reason
            assert entry.kind in entry.reason  # refused by name
        else:
            assert entry.gaps.largest < TOLERANCE, (changes, entry)

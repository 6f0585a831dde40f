"""The trie of admissible sequences against plain set arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declutch.rollout.hf.trie import build_trie

STOP = 9
BODIES = st.sets(st.lists(st.integers(0, 3), max_size=4).map(tuple), min_size=1, max_size=12)


def test_children_are_what_continues_a_sequence() -> None:
    root = build_trie(((1, 2, STOP), (1, 3, STOP), (5, STOP)), (STOP,))
    assert root.allowed == (1, 5)
    assert root.child(1).allowed == (2, 3)
    assert root.child(1).child(3).allowed == (STOP,)
    assert root.child(5).allowed == (STOP,)


def test_an_opened_node_is_kept() -> None:
    root = build_trie(((1, 2, STOP), (1, 3, STOP)), (STOP,))
    assert root.child(1) is root.child(1)


def test_one_action_may_begin_with_another() -> None:
    root = build_trie(((1, STOP), (1, 2, STOP)), (STOP,))
    assert root.child(1).allowed == (2, STOP)


@given(BODIES)
def test_the_walks_are_exactly_the_sequences(bodies: set[tuple[int, ...]]) -> None:
    sequences = tuple((*body, STOP) for body in bodies)
    found, stack = [], [(build_trie(sequences, (STOP,)), ())]
    while stack:
        node, path = stack.pop()
        assert list(node.allowed) == sorted(set(node.allowed))
        for token in node.allowed:
            if token == STOP:
                found.append((*path, token))
            else:
                stack.append((node.child(token), (*path, token)))
    assert sorted(found) == sorted(sequences)


@pytest.mark.parametrize("token", [STOP, 7])
def test_nothing_follows_an_end_or_a_foreign_token(token: int) -> None:
    with pytest.raises(KeyError):
        build_trie(((STOP,), (1, STOP)), (STOP,)).child(token)


@pytest.mark.parametrize(
    "sequences", [(), ((),), ((1, 2),), ((1, STOP), (STOP, 1, STOP)), ((STOP, STOP),)]
)
def test_sequences_that_cannot_be_completed_are_refused(sequences) -> None:
    with pytest.raises(ValueError, match="sequence"):
        build_trie(sequences, (STOP,))

"""The set of admissible token sequences as a trie that is opened only where sampling walks."""

from __future__ import annotations

from collections.abc import Sequence


class TrieNode:
    """A node of the trie of admissible token sequences: what may follow, and where it leads.

    Attributes:
        allowed: ids that continue at least one sequence, ascending.
    """

    __slots__ = ("_children", "_depth", "_sequences", "allowed")

    def __init__(self, sequences: Sequence[tuple[int, ...]], depth: int = 0) -> None:
        self._sequences = sequences
        self._depth = depth
        self._children: dict[int, TrieNode] = {}
        self.allowed: tuple[int, ...] = tuple(sorted({s[depth] for s in sequences}))

    def child(self, token: int) -> TrieNode:
        """The node after a token.

        Raises:
            KeyError: `token` is not allowed here, or ends its sequence.
        """
        node = self._children.get(token)
        if node is None:
            after = self._depth + 1
            rest = [s for s in self._sequences if s[self._depth] == token and len(s) > after]
            if not rest:
                raise KeyError(token)
            # An opened node is kept: groups of episodes walk the same sets again and again.
            node = self._children[token] = TrieNode(rest, after)
        return node

    def is_last(self, token: int) -> bool:
        """Whether a token that is allowed here ends its sequence."""
        after = self._depth + 1
        return all(len(s) == after for s in self._sequences if s[self._depth] == token)


def build_trie(sequences: tuple[tuple[int, ...], ...], stop_ids: tuple[int, ...]) -> TrieNode:
    """Build the root of a trie over admissible token sequences; it opens where sampling walks.

    Args:
        stop_ids: one of them ends every sequence; () where a sequence may end with anything.
    Raises:
        ValueError: no sequence, or one that is empty, does not end with a stop token, or has a
            stop token before its end (it could never be completed).
    """
    if not sequences:
        raise ValueError("an action mask needs at least one sequence")
    stops = frozenset(stop_ids)
    for sequence in sequences:
        has_end = not stops or (sequence[-1:] and sequence[-1] in stops)
        if not sequence or not has_end or not stops.isdisjoint(sequence[:-1]):
            raise ValueError(
                f"action mask sequence {sequence} must end with a stop token {tuple(stop_ids)} "
                "and have none before"
            )
    return TrieNode(sequences)

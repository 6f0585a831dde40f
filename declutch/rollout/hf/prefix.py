"""Which prefixes that prompts share are worth computing once.

The sorted prompts form a trie; its branching points are the candidates. `plan_prefixes` picks the
set of them with the fewest tokens to compute, counting a fixed overhead for each one picked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Segment:
    """A segment of a prefix plan: tokens [start, stop) of a prompt, on top of a shared prefix.

    Attributes:
        prompt: index of a prompt that has these tokens.
        start, stop: token positions; `stop` is the prompt's length for a prompt's own segment.
        parent: index of the shared segment that ends at `start`, -1 where `start` is 0.
        level: number of shared segments before this one.
    """

    prompt: int
    start: int
    stop: int
    parent: int
    level: int


@dataclass(frozen=True)
class PrefixPlan:
    """Which prefixes that prompts share are computed once, and what is left of each prompt.

    Attributes:
        shared: prefixes to compute once, parents before their children.
        own: one per prompt, in the prompts' order; at least one token each.
    """

    shared: tuple[Segment, ...]
    own: tuple[Segment, ...]

    @property
    def num_tokens(self) -> int:
        """How many tokens are computed in all."""
        return sum(s.stop - s.start for s in (*self.shared, *self.own))


@dataclass
class _Branch:
    """A node of the trie of prompts: a branching point, or a leaf (one prompt)."""

    depth: int
    prompt: int
    children: list[_Branch] = field(default_factory=list)
    costs: dict[int, int] = field(default_factory=dict)


def plan_prefixes(prompts: Sequence[tuple[int, ...]], overhead: int) -> PrefixPlan:
    """Plan which shared prefixes to compute once, so that all prompts cost least.

    Args:
        prompts: distinct, each with at least one token.
        overhead: what computing one shared segment apart costs, in tokens.
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    root = _build_tree(prompts, order)
    _price(root, overhead)
    shared: list[Segment] = []
    own: dict[int, Segment] = {}
    stack = [(root, 0, -1, 0)]
    while stack:
        branch, anchor, parent, level = stack.pop()
        if not branch.children:
            own[branch.prompt] = Segment(branch.prompt, anchor, branch.depth, parent, level)
            continue
        if _is_worth(branch, anchor, overhead):
            shared.append(Segment(branch.prompt, anchor, branch.depth, parent, level))
            anchor, parent, level = branch.depth, len(shared) - 1, level + 1
        stack.extend((child, anchor, parent, level) for child in branch.children)
    return PrefixPlan(tuple(shared), tuple(own[i] for i in range(len(prompts))))


def _build_tree(prompts: Sequence[tuple[int, ...]], order: list[int]) -> _Branch:
    """The trie's branching points, from the common prefixes of neighbours in sorted order."""
    stack = [_Branch(0, order[0])]
    previous: tuple[int, ...] = ()
    for index in order:
        prompt = prompts[index]
        # A prompt keeps its last token for itself: its scores are what is wanted.
        common = max(0, min(common_length(previous, prompt), len(previous) - 1, len(prompt) - 1))
        last: _Branch | None = None
        while stack[-1].depth > common:
            last = stack.pop()
            if stack[-1].depth >= common:
                stack[-1].children.append(last)
                last = None
        if last is not None:
            stack.append(_Branch(common, index, [last]))
        stack.append(_Branch(len(prompt), index))
        previous = prompt
    while len(stack) > 1:
        last = stack.pop()
        stack[-1].children.append(last)
    return stack[0]


def common_length(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """The length of the longest prefix that two sequences of tokens share."""
    low, high = 0, min(len(a), len(b))
    # Bisection over tuple comparisons runs at C speed, unlike a loop over tokens.
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _price(root: _Branch, overhead: int) -> None:
    """Fill `costs`: tokens to compute below a branch, given that `anchor` tokens are there."""
    visits: list[tuple[_Branch, tuple[int, ...]]] = [(root, (0,))]
    for branch, anchors in visits:
        below = anchors if branch.depth in anchors else (*anchors, branch.depth)
        visits.extend((child, below) for child in branch.children)
    for branch, anchors in reversed(visits):
        for anchor in anchors:
            branch.costs[anchor] = (
                min(_cost_without(branch, anchor), _cost_with(branch, anchor, overhead))
                if branch.children
                else branch.depth - anchor
            )


def _cost_without(branch: _Branch, anchor: int) -> int:
    return sum(child.costs[anchor] for child in branch.children)


def _cost_with(branch: _Branch, anchor: int, overhead: int) -> int:
    below = sum(child.costs[branch.depth] for child in branch.children)
    return branch.depth - anchor + overhead + below


def _is_worth(branch: _Branch, anchor: int, overhead: int) -> bool:
    return _cost_with(branch, anchor, overhead) < _cost_without(branch, anchor)

"""A response while it is being sampled: what it has, what may follow, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from declutch.records import ActionMask, Completion, SamplingParams
from declutch.rollout.hf.trie import TrieNode

Opens = Callable[[Sequence[int]], tuple[tuple[int, ...], ...] | None]
OpenTrie = Callable[[tuple[tuple[int, ...], ...], tuple[int, ...]], TrieNode]


@dataclass(frozen=True)
class Constraints:
    """What a response of the HF engine is held to: its length, ends, and admissible actions.

    Attributes:
        params: see `SamplingParams`.
        forced: `params.forced_after` as a mapping.
        open_trie: root of the trie of (sequences, stop ids).
    """

    params: SamplingParams
    forced: Mapping[int, int]
    open_trie: OpenTrie


@dataclass
class Response:
    """A response while it is being sampled: its tokens so far, and where in the mask it is.

    Attributes:
        request: index of its request.
        mask: the request's action mask.
        generator: the request's own source of chance, None for the call's.
        node: where in the mask's trie the response is, None while tokens are free.
        tokens, logprobs, allowed: what has been sampled so far.
        pending: the latest tokens, which the model has not been fed yet.
        is_stopped, is_truncated: how it ended.
    """

    request: int
    mask: ActionMask | None
    generator: torch.Generator | None = None
    node: TrieNode | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    allowed: list[tuple[int, ...] | None] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    is_stopped: bool = False
    is_truncated: bool = False

    @property
    def is_done(self) -> bool:
        """Whether nothing follows any more."""
        return self.is_stopped or self.is_truncated

    def choices(self, constraints: Constraints) -> tuple[int, ...] | None:
        """The ids allowed as the next token, None where it is free."""
        if self.node is not None:
            return self.node.allowed
        if not self.tokens:
            return constraints.params.first_ids or None
        follower = constraints.forced.get(self.tokens[-1])
        return None if follower is None else (follower,)

    def append(
        self, token: int, logprob: float, choices: tuple[int, ...] | None, constraints: Constraints
    ) -> None:
        """Add a token that was drawn from `choices`, and end the response where it ends it."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.allowed.append(choices)
        self.pending.append(token)
        has_ended = constraints.params.has_ended
        if token in constraints.params.stop_ids or (
            has_ended is not None and has_ended(self.tokens)
        ):
            self.is_stopped = True
        elif len(self.tokens) >= constraints.params.max_tokens:
            self.is_truncated = True
        elif self.mask is not None and self.mask.opens is not None:
            self._follow(token, self.mask.opens, constraints.open_trie)
        elif self.node is not None:
            self.node = self.node.child(token)
        elif self.mask is not None and token == self.mask.trigger_id:
            self.node = constraints.open_trie(self.mask.sequences, constraints.params.stop_ids)

    def _follow(self, token: int, opens: Opens, open_trie: OpenTrie) -> None:
        """Go on in the mask's trie after a token, or ask whether one opens now."""
        if self.node is not None and not self.node.is_last(token):
            self.node = self.node.child(token)
            return
        sequences = opens(self.tokens)
        self.node = None if sequences is None else open_trie(sequences, ())

    def jump(self, constraints: Constraints) -> None:
        """Add every token that has no alternative, with log-probability 0."""
        while not self.is_done:
            choices = self.choices(constraints)
            if choices is None or len(choices) > 1:
                return
            self.append(choices[0], 0.0, choices, constraints)

    def to_completion(self) -> Completion:
        """Make the record of the response, once it is done."""
        is_masked = self.mask is not None or any(ids is not None for ids in self.allowed)
        return Completion(
            token_ids=torch.tensor(self.tokens, dtype=torch.int64),
            logprobs=torch.tensor(self.logprobs, dtype=torch.float32),
            allowed_ids=tuple(self.allowed) if is_masked else (),
            is_truncated=self.is_truncated,
        )

"""The protocol every sampling engine implements: prompt token ids in, sampled token ids out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from declutch.records import Completion


@dataclass(frozen=True)
class ActionMask:
    """Restricts what follows a trigger token to one of a few token sequences.

    Before `trigger_id` is sampled every token is free; after it the response must be exactly one
    of `sequences`, each of which ends with a stop token. Inside a sequence only tokens that
    continue at least one of the sequences are allowed (a trie).

    Attributes:
        trigger_id: the token that opens the action, e.g. the id of "<action>".
        sequences: the admissible actions' token ids, each ending with a stop token; not empty.
    """

    trigger_id: int
    sequences: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Request:
    """One response to sample.

    Attributes:
        prompt_ids: i64[P].
        mask: restricts the action, or None for free decoding.
        generator: a source of chance of this response's own, so that what it is sampled together
            with changes nothing but rounding; None for the call's.
    """

    prompt_ids: Tensor
    mask: ActionMask | None = None
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class SamplingParams:
    """How to sample.

    Attributes:
        temperature: > 0, or 0 for the most likely token. Log-probabilities are those of the
            distribution sampled from, i.e. at this temperature (at 0: of temperature 1).
        max_tokens: response tokens at most; a mask's action always fits or is truncated.
        stop_ids: a response ends with (and includes) any of these.
        top_p: nucleus mass in (0, 1]; 1 keeps the whole distribution.
        forced_after: pairs (a, b): once token a was sampled, b must follow; such a token is
            sampled with log-probability 0 and its allowed set is {b}. The tags of an agent whose
            actions are masked use it so that the format cannot be missed.
        first_ids: what a response may begin with; such a token is sampled under that mask, which is
            its allowed set. () leaves it free.
        has_ended: told the tokens so far after each token, says whether they are a whole
            response; for closing tags that a tokenizer splits. None where `stop_ids` suffice.
    """

    temperature: float
    max_tokens: int
    stop_ids: tuple[int, ...]
    top_p: float = 1.0
    forced_after: tuple[tuple[int, int], ...] = ()
    first_ids: tuple[int, ...] = ()
    has_ended: Callable[[Sequence[int]], bool] | None = None


class Engine(Protocol):
    """Samples responses; keeps no state between calls but the weights."""

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        generator: torch.Generator,
    ) -> list[Completion]:
        """One completion per request, in order; deterministic given the generator's state."""
        ...

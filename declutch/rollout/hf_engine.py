"""Samples from any Hugging Face causal LM on CPU or CUDA: prompt token ids in, token ids out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from declutch.errors import UserError
from declutch.records import Completion
from declutch.rollout.decoder import (
    Decoder,
    PassLimits,
    RecomputeDecoder,
    SlotDecoder,
    can_use_slots,
)
from declutch.rollout.engine import ActionMask, Request, SamplingParams
from declutch.rollout.sampling import sample_tokens
from declutch.rollout.slot_cache import Arena
from declutch.rollout.trie import TrieNode, build_trie

CPU_PREFILL_TOKENS = 768
"""Tokens of one forward pass over prompts: what keeps a small model's activations in the caches
of a CPU core; a pass this long is far above a big model's overhead."""
CUDA_PREFILL_TOKENS = 16384
CPU_ARENA_BYTES = 256 << 20
MAX_TRIES = 4096
"""Admissible sets remembered; groups of episodes meet the same ones again and again."""


@dataclass
class _Row:
    """A response being sampled.

    Attributes:
        request: index of the request.
        mask: its action mask.
        node: where in the mask's trie the response is, None while tokens are free.
        pending: tokens the model has not been fed yet.
    """

    request: int
    mask: ActionMask | None
    node: TrieNode | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    allowed: list[tuple[int, ...] | None] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    is_stopped: bool = False
    is_truncated: bool = False

    @property
    def is_done(self) -> bool:
        return self.is_stopped or self.is_truncated


class HFEngine:
    """Implements `declutch.rollout.engine.Engine` for a Hugging Face causal LM.

    Prompts are computed without padding to a common length; identical prompts and shared prefixes
    once; tokens that are forced cost no forward pass of their own; rows leave the batch as soon
    as they are finished. The model is run in evaluation mode and put back as it was.

    Args:
        model: stays the caller's; its weights may change between calls.
        pad_id: any valid token id; fills up unequal chunks and is never attended.
        max_batch: rows decoded at once.
        max_cache_bytes: bound of the key/value cache, which limits the rows of one batch; one
            row always runs.
        prefill_tokens: tokens of one forward pass over prompts; None chooses by device.
        share_prefixes, jump_forward: off only to measure what they bring.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pad_id: int,
        max_batch: int = 128,
        *,
        max_cache_bytes: int = 4 << 30,
        prefill_tokens: int | None = None,
        share_prefixes: bool = True,
        jump_forward: bool = True,
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch must be at least 1, got {max_batch}")
        self._model = model
        self._pad_id = pad_id
        self._max_batch = max_batch
        self._max_cache_bytes = max_cache_bytes
        on_cpu = model.device.type == "cpu"
        chosen = CPU_PREFILL_TOKENS if on_cpu else CUDA_PREFILL_TOKENS
        self._prefill_tokens = chosen if prefill_tokens is None else prefill_tokens
        self._arena = Arena(CPU_ARENA_BYTES if on_cpu else 0)
        self._share_prefixes = share_prefixes
        self._jump_forward = jump_forward
        self._trie = lru_cache(maxsize=MAX_TRIES)(build_trie)
        self.reuses_cache = can_use_slots(model)
        if not self.reuses_cache:
            warnings.warn(
                f"{type(model).__name__} with attention {model.config._attn_implementation!r} "
                "keeps a state that cannot be shared between rows; every step computes whole "
                "sequences anew (attn_implementation='sdpa' is the fast choice where it exists)",
                stacklevel=2,
            )

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        generator: torch.Generator,
    ) -> list[Completion]:
        """One completion per request, in order.

        Args:
            requests: prompts of at least one token, each with its own action mask or none.
            params: how to sample.
            generator: the only source of chance; the same state gives the same completions.
        Raises:
            UserError: a prompt leaves no room in the model's positions; the model's scores are
                not finite.
            ValueError: an empty prompt, or a mask or parameters that cannot be followed.
        """
        forced = _check_params(params)
        prompts = [tuple(request.prompt_ids.tolist()) for request in requests]
        self._check_prompts(prompts, params.max_tokens)
        done: dict[int, _Row] = {}
        with torch.inference_mode(), _evaluating(self._model):
            for batch in self._split(prompts, params.max_tokens):
                rows = [_Row(index, requests[index].mask) for index in batch]
                self._run(rows, [prompts[index] for index in batch], params, forced, generator)
                done.update((row.request, row) for row in rows)
        return [_to_completion(done[index]) for index in range(len(requests))]

    def _run(
        self,
        rows: list[_Row],
        prompts: list[tuple[int, ...]],
        params: SamplingParams,
        forced: dict[int, int],
        generator: torch.Generator,
    ) -> None:
        """Sample every row of one batch to its end."""
        decoder = self._make_decoder(params.max_tokens)
        logits, order = decoder.prefill(prompts)
        live = [rows[index] for index in order]
        while True:
            self._sample(live, logits, params, forced, generator)
            kept = _swap_out([row.is_done for row in live])
            if not kept:
                decoder.close()
                return
            if len(kept) < len(live):
                decoder.keep(kept)
                live = [live[index] for index in kept]
            width = decoder.choose_width([len(row.pending) for row in live])
            logits = decoder.feed([row.pending[:width] for row in live])
            for row in live:
                del row.pending[:width]

    def _sample(
        self,
        live: list[_Row],
        logits: Tensor,
        params: SamplingParams,
        forced: dict[int, int],
        generator: torch.Generator,
    ) -> None:
        """Append a token to every row that has been fed whole, and the forced ones after it."""
        ready = [index for index, row in enumerate(live) if not row.pending]
        if len(ready) < len(live):
            live, logits = [live[index] for index in ready], logits[ready]
        uniforms = torch.rand(len(live), generator=generator, dtype=torch.float64)
        allowed = [_choices(row, forced) for row in live]
        tokens, logprobs = sample_tokens(
            logits, allowed, uniforms.to(logits.device), params.temperature, params.top_p
        )
        for row, token, logprob, choices in zip(live, tokens, logprobs, allowed, strict=True):
            if not math.isfinite(logprob):
                raise UserError(
                    f"the model's scores are not finite (log-probability {logprob}): its weights "
                    "have diverged; go back to an earlier checkpoint and lower optimizer.lr"
                )
            self._append(row, token, logprob, choices, params)
            while self._jump_forward and not row.is_done:
                following = _choices(row, forced)
                if following is None or len(following) > 1:
                    break
                self._append(row, following[0], 0.0, following, params)

    def _append(
        self,
        row: _Row,
        token: int,
        logprob: float,
        choices: tuple[int, ...] | None,
        params: SamplingParams,
    ) -> None:
        row.tokens.append(token)
        row.logprobs.append(logprob)
        row.allowed.append(choices)
        row.pending.append(token)
        if token in params.stop_ids:
            row.is_stopped = True
        elif len(row.tokens) >= params.max_tokens:
            row.is_truncated = True
        elif row.node is not None:
            row.node = row.node.child(token)
        elif row.mask is not None and token == row.mask.trigger_id:
            row.node = self._trie(row.mask.sequences, params.stop_ids)

    def _make_decoder(self, max_tokens: int) -> Decoder:
        if not self.reuses_cache:
            return RecomputeDecoder(self._model, self._prefill_tokens)
        limits = PassLimits(self._prefill_tokens, self._share_prefixes, min(max_tokens, 64))
        return SlotDecoder(self._model, self._pad_id, limits, self._arena)

    def _split(self, prompts: list[tuple[int, ...]], max_tokens: int) -> Iterator[list[int]]:
        """Batches of indices that respect both bounds.

        Long prompts come first, and prompts in dictionary order within a batch's reach, so that
        rows of a batch are alike in length and those that share a prefix meet.
        """
        budget = self._max_cache_bytes // _bytes_per_token(self._model)
        batch: list[int] = []
        longest = 0
        for index in _order_for_batches(prompts, self._max_batch):
            length = max(longest, len(prompts[index]) + max_tokens)
            is_full = len(batch) == self._max_batch or length * (len(batch) + 1) > budget
            if batch and is_full:
                yield batch
                batch, length = [], len(prompts[index]) + max_tokens
            batch.append(index)
            longest = length
        if batch:
            yield batch

    def _check_prompts(self, prompts: list[tuple[int, ...]], max_tokens: int) -> None:
        longest = max(map(len, prompts), default=1)
        if min(map(len, prompts), default=1) == 0:
            raise ValueError("a prompt needs at least one token")
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        # The last token is never fed.
        if limit is not None and longest + max_tokens - 1 > limit:
            raise UserError(
                f"a prompt of {longest} tokens and a response of up to {max_tokens} do not fit "
                f"into the {limit} positions of {type(self._model).__name__}; lower "
                "agent.history_length or agent.max_response_tokens, or take a longer model"
            )


def _check_params(params: SamplingParams) -> dict[int, int]:
    """The forced pairs as a mapping, after checking the parameters."""
    if params.max_tokens < 1 or params.temperature < 0 or not 0 < params.top_p <= 1:
        raise ValueError(f"impossible sampling parameters: {params}")
    forced = dict(params.forced_after)
    if len(forced) < len(set(params.forced_after)):
        raise ValueError(f"a token is followed by two forced ones: {params.forced_after}")
    return forced


def _choices(row: _Row, forced: dict[int, int]) -> tuple[int, ...] | None:
    """Ids allowed as the row's next token, None where it is free."""
    if row.node is not None:
        return row.node.allowed
    follower = forced.get(row.tokens[-1]) if row.tokens else None
    return None if follower is None else (follower,)


def _swap_out(is_done: list[bool]) -> list[int]:
    """Rows to keep, the holes of finished ones filled from the end: the fewest moves."""
    kept = [index for index, done in enumerate(is_done) if not done]
    count = len(kept)
    movers = iter(kept[sum(index < count for index in kept) :])
    return [index if not is_done[index] else next(movers) for index in range(count)]


def _order_for_batches(prompts: list[tuple[int, ...]], max_batch: int) -> list[int]:
    indices = range(len(prompts))
    by_length = sorted(indices, key=lambda i: (-len(prompts[i]), prompts[i]))
    if len(prompts) <= max_batch:
        return by_length
    # Prompts that begin alike have first to meet; runs of them are then sorted by length.
    by_text = sorted(indices, key=lambda i: prompts[i])
    size = max(1, max_batch // 8)
    runs = [by_text[first : first + size] for first in range(0, len(by_text), size)]
    runs.sort(key=lambda run: -max(len(prompts[i]) for i in run))
    return [index for run in runs for index in run]


def _bytes_per_token(model: PreTrainedModel) -> int:
    """Bytes of keys and values of one token, from the model's configuration (1: none known)."""
    config = model.config.get_text_config()
    if not hasattr(config, "num_attention_heads"):
        return 1
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_hidden_layers * 2 * heads * size * model.dtype.itemsize)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _to_completion(row: _Row) -> Completion:
    is_masked = row.mask is not None or any(choices is not None for choices in row.allowed)
    return Completion(
        token_ids=torch.tensor(row.tokens, dtype=torch.int64),
        logprobs=torch.tensor(row.logprobs, dtype=torch.float32),
        allowed_ids=tuple(row.allowed) if is_masked else (),
        is_truncated=row.is_truncated,
    )

"""Samples from any Hugging Face causal LM on CPU or CUDA: prompt token ids in, token ids out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from declutch.ground.errors import UserError
from declutch.models.capabilities import capabilities
from declutch.models.mode import evaluation_mode
from declutch.models.precision import computing, is_exact
from declutch.records import Completion, Request, SamplingParams
from declutch.rollout.hf.batches import cache_bytes_per_token, split_batches
from declutch.rollout.hf.decoder import Decoder, RecomputeDecoder
from declutch.rollout.hf.response import Constraints, Response
from declutch.rollout.hf.sampling import sample_tokens
from declutch.rollout.hf.slot_cache import Arena
from declutch.rollout.hf.slot_decoder import PassLimits, SlotDecoder
from declutch.rollout.hf.trie import build_trie

CPU_PREFILL_TOKENS = 768
"""How many prompt tokens one forward pass computes on a CPU: few enough that the activations of a
small model stay in a core's caches, and enough that a pass's overhead does not count."""
CUDA_PREFILL_TOKENS = 16384
"""How many prompt tokens one forward pass computes on CUDA."""
CPU_ARENA_BYTES = 256 << 20
"""Memory of the cache that is kept between calls on a CPU; a small model needs no more."""
MAX_TRIES = 4096
"""How many sets of admissible actions are kept as tries, since the episodes of a group meet the
same ones again and again."""


class HFEngine:
    """The HF engine of the rollout, which samples from Hugging Face causal LMs, on CPU or CUDA.

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
        self._open_trie = lru_cache(maxsize=MAX_TRIES)(build_trie)
        self._capabilities = capabilities(model)
        self.reuses_cache = self._capabilities.can_cache
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
        """Sample one response per request, in order.

        Args:
            requests: prompts of at least one token, each with its own action mask or none.
            params: how to sample.
            generator: the only source of chance of requests that bring none of their own; the same
                state gives the same completions.
        Raises:
            UserError: a prompt leaves no room in the model's positions; the model's scores are
                not finite.
            ValueError: an empty prompt, or a mask or parameters that cannot be followed.
        """
        constraints = Constraints(params, _check_params(params), self._open_trie)
        prompts = [tuple(request.prompt_ids.tolist()) for request in requests]
        self._check_prompts(prompts, params)
        responses = [
            Response(index, request.mask, generator=request.generator)
            for index, request in enumerate(requests)
        ]
        max_slots = self._max_cache_bytes // cache_bytes_per_token(self._model)
        with torch.inference_mode(), evaluation_mode(self._model), computing(self._model):
            for batch in split_batches(prompts, params.max_tokens, self._max_batch, max_slots):
                members = [responses[index] for index in batch]
                self._run(members, [prompts[index] for index in batch], constraints, generator)
        return [response.to_completion() for response in responses]

    @property
    def is_exact(self) -> bool:
        """Whether its log-probabilities are the learner's but for single precision's rounding."""
        return is_exact(self._model)

    def max_prompt_tokens(self, params: SamplingParams) -> int | None:
        """How long a prompt may be for such responses: what the model's positions leave."""
        limit = self._capabilities.num_positions
        # The last token is never fed.
        return None if limit is None else limit + 1 - params.max_tokens

    def sync(self, model: nn.Module) -> None:
        """Nothing to do: the engine samples from the very module that is trained.

        Its weights are in use as soon as an optimizer has changed them; there is no copy.

        Args:
            model: must be the module that the engine was made with.
        Raises:
            ValueError: it is another one, whose weights would never be sampled from.
        """
        if model is not self._model:
            raise ValueError("the engine samples from the module it was made with, not from this")

    def _run(
        self,
        responses: list[Response],
        prompts: list[tuple[int, ...]],
        constraints: Constraints,
        generator: torch.Generator,
    ) -> None:
        """Sample every response of one batch to its end."""
        decoder = self._make_decoder(constraints.params.max_tokens)
        logits, order = decoder.prefill(prompts)
        live = [responses[index] for index in order]
        while True:
            self._sample(live, logits, constraints, generator)
            kept = swap_out([response.is_done for response in live])
            if not kept:
                decoder.close()
                return
            if len(kept) < len(live):
                decoder.keep(kept)
                live = [live[index] for index in kept]
            width = decoder.choose_width([len(response.pending) for response in live])
            logits = decoder.feed([response.pending[:width] for response in live])
            for response in live:
                del response.pending[:width]

    def _sample(
        self,
        live: list[Response],
        logits: Tensor,
        constraints: Constraints,
        generator: torch.Generator,
    ) -> None:
        """Add a token to every response that was fed whole, and the forced ones after it."""
        ready = [index for index, response in enumerate(live) if not response.pending]
        if len(ready) < len(live):
            live, logits = [live[index] for index in ready], logits[ready]
        uniforms = torch.rand(len(live), generator=generator, dtype=torch.float64)
        for row, response in enumerate(live):
            if response.generator is not None:
                uniforms[row] = torch.rand((), generator=response.generator, dtype=torch.float64)
        allowed = [response.choices(constraints) for response in live]
        tokens, logprobs = sample_tokens(
            logits,
            allowed,
            uniforms.to(logits.device),
            constraints.params.temperature,
            constraints.params.top_p,
        )
        if not all(map(math.isfinite, logprobs)):
            raise UserError(
                "the model's scores are not finite: its weights have diverged; go back to an "
                "earlier checkpoint and lower optimizer.lr"
            )
        for response, token, logprob, ids in zip(live, tokens, logprobs, allowed, strict=True):
            response.append(token, logprob, ids, constraints)
            if self._jump_forward:
                response.jump(constraints)

    def _make_decoder(self, max_tokens: int) -> Decoder:
        if not self.reuses_cache:
            return RecomputeDecoder(self._model, self._prefill_tokens)
        limits = PassLimits(self._prefill_tokens, self._share_prefixes, min(max_tokens, 64))
        return SlotDecoder(self._model, self._pad_id, limits, self._arena)

    def _check_prompts(self, prompts: list[tuple[int, ...]], params: SamplingParams) -> None:
        if min(map(len, prompts), default=1) == 0:
            raise ValueError("a prompt needs at least one token")
        longest, limit = max(map(len, prompts), default=1), self.max_prompt_tokens(params)
        if limit is not None and longest > limit:
            raise UserError(
                f"a prompt of {longest} tokens and a response of up to {params.max_tokens} do not "
                f"fit into the {self._capabilities.num_positions} positions of "
                f"{type(self._model).__name__}; lower agent.history_length or "
                "agent.max_response_tokens, or take a longer model"
            )


def _check_params(params: SamplingParams) -> dict[int, int]:
    """The forced pairs as a mapping, after checking the parameters."""
    if params.max_tokens < 1 or params.temperature < 0 or not 0 < params.top_p <= 1:
        raise ValueError(f"impossible sampling parameters: {params}")
    forced = dict(params.forced_after)
    if len(forced) < len(set(params.forced_after)):
        raise ValueError(f"a token is followed by two forced ones: {params.forced_after}")
    return forced


def swap_out(is_done: list[bool]) -> list[int]:
    """Which rows the Hugging Face engine keeps once some responses are finished.

    The last unfinished rows fill the holes of the finished ones, so that the rest stays in place.

    Returns:
        for each row of the smaller batch, the row it is now.
    """
    kept = [index for index, done in enumerate(is_done) if not done]
    count = len(kept)
    movers = iter(kept[sum(index < count for index in kept) :])
    return [index if not is_done[index] else next(movers) for index in range(count)]

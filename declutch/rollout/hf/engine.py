"""Samples from any Hugging Face causal LM on CPU or CUDA: prompt token ids in, token ids out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from torch import nn
from transformers import PreTrainedModel

from declutch.ground.errors import UserError
from declutch.models.capabilities import capabilities
from declutch.models.precision import is_exact
from declutch.records import Completion, Request, SamplingParams
from declutch.rollout.engine import fill_requests
from declutch.rollout.hf.batches import BatchLimits, cache_bytes_per_token, order_prompts
from declutch.rollout.hf.decoder import Decoder, RecomputeDecoder
from declutch.rollout.hf.kept_rows import KeptRows
from declutch.rollout.hf.response import Constraints, Response
from declutch.rollout.hf.slot_cache import Arena
from declutch.rollout.hf.slot_decoder import PassLimits, SlotDecoder
from declutch.rollout.hf.stepper import HFStepper
from declutch.rollout.hf.trie import build_trie
from declutch.rollout.stepping import SteppedEngine

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


FEWEST_KEPT_PARAMETERS = 5_000_000
"""From which size of a model on finished rows are kept. The short prompts of smaller ones are
computed as quickly as a kept row is found and copied."""


class HFEngine(SteppedEngine):
    """The HF engine of the rollout, which samples from Hugging Face causal LMs, on CPU or CUDA.

    Prompts are computed without padding to a common length; identical prompts and shared prefixes
    once; tokens that are forced cost no forward pass of their own; rows leave the batch as soon
    as they are finished, and new requests join it. The model is run in evaluation mode and put
    back as it was.

    Args:
        model: stays the caller's; its weights may change between calls.
        pad_id: any valid token id; fills up unequal chunks and is never attended.
        max_batch: rows decoded at once.
        max_cache_bytes: bound of the key/value cache, which limits the rows of one batch; one
            row always runs.
        prefill_tokens: tokens of one forward pass over prompts; None chooses by device.
        keeps_rows: whether finished rows are kept while `holding`, for prompts that begin alike;
            None keeps them where computing these beginnings anew would take longer.
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
        keeps_rows: bool | None = None,
        share_prefixes: bool = True,
        jump_forward: bool = True,
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch must be at least 1, got {max_batch}")
        self._model = model
        self._pad_id = pad_id
        self._max_batch = max_batch
        on_cpu = model.device.type == "cpu"
        chosen = CPU_PREFILL_TOKENS if on_cpu else CUDA_PREFILL_TOKENS
        self._prefill_tokens = chosen if prefill_tokens is None else prefill_tokens
        self._arena = Arena(CPU_ARENA_BYTES if on_cpu else 0)
        self._share_prefixes = share_prefixes
        self._open_trie = lru_cache(maxsize=MAX_TRIES)(build_trie)
        self._constraints = lru_cache(maxsize=16)(self._hold)
        self._capabilities = capabilities(model)
        self.reuses_cache = self._capabilities.can_cache
        if not self.reuses_cache:
            warnings.warn(
                f"{type(model).__name__} with attention {model.config._attn_implementation!r} "
                "keeps a state that cannot be shared between rows; every step computes whole "
                "sequences anew (attn_implementation='sdpa' is the fast choice where it exists)",
                stacklevel=2,
            )
        batch = BatchLimits(max_batch, max_cache_bytes // cache_bytes_per_token(model))
        self._max_slots = batch.max_slots
        self._kept = KeptRows(batch.max_slots if _keeps_rows(model, keeps_rows) else 0)
        self._steps = HFStepper(model, batch, self._make_decoder, jump_forward)
        self._count = 0
        super().__init__(self)

    def generate(
        self, requests: Sequence[Request], params: SamplingParams | None = None, seed: int = 0
    ) -> list[Completion]:
        """Sample one response per request, in order, without a loop of events.

        Args:
            requests: prompts of at least one token, each with its own action mask or none.
            params: how to sample where a request does not say it itself.
            seed: what the seeds of requests that bring none are derived from.
        Raises:
            UserError: a prompt leaves no room in the model's positions; the model's scores are
                not finite.
            ValueError: an empty prompt, or a mask or parameters that cannot be followed.
        """
        asked = fill_requests(requests, params, seed)
        order = order_prompts([tuple(each.prompt_ids.tolist()) for each in asked], self._max_batch)
        try:
            numbers = {self.add(asked[index]): index for index in order}
            found: dict[int, Completion] = {}
            while len(found) < len(asked):
                found |= {numbers[number]: done for number, done in self.step()}
        except BaseException:
            self.clear()
            raise
        return [found[index] for index in range(len(asked))]

    def add(self, request: Request) -> int:
        """Take a request into the next steps; the number that it will be given out under."""
        if request.params is None or request.seed is None:
            raise ValueError("a request needs its sampling parameters and its seed")
        constraints = self._constraints(request.params)
        prompt = tuple(request.prompt_ids.tolist())
        self._check_prompt(prompt, request.params)
        self._count += 1
        self._steps.queue(Response(self._count, request, prompt, constraints))
        return self._count

    def step(self) -> list[tuple[int, Completion]]:
        """Sample on at all responses; those that are finished now."""
        return self._steps.step()

    def clear(self) -> None:
        """Forget all requests."""
        self._steps.clear()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep finished rows, so that an episode's next prompt starts from what its last one had.

        The model's weights must not change meanwhile. What is kept counts towards the bound of the
        cache, makes place for rows that are decoded, and is let go at the end.
        """
        self._kept.open()
        try:
            yield
        finally:
            self._kept.close()

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

    def _hold(self, params: SamplingParams) -> Constraints:
        return Constraints(params, _check_params(params), self._open_trie)

    def _make_decoder(self) -> Decoder:
        if not self.reuses_cache:
            return RecomputeDecoder(self._model, self._prefill_tokens)
        limits = PassLimits(
            self._prefill_tokens, self._share_prefixes, self._max_batch, self._max_slots
        )
        return SlotDecoder(self._model, self._pad_id, limits, self._arena, self._kept)

    def _check_prompt(self, prompt: tuple[int, ...], params: SamplingParams) -> None:
        if not prompt:
            raise ValueError("a prompt needs at least one token")
        limit = self.max_prompt_tokens(params)
        if limit is not None and len(prompt) > limit:
            raise UserError(
                f"a prompt of {len(prompt)} tokens and a response of up to {params.max_tokens} do "
                f"not fit into the {self._capabilities.num_positions} positions of "
                f"{type(self._model).__name__}; lower agent.history_length or "
                "agent.max_response_tokens, or take a longer model"
            )


def _keeps_rows(model: PreTrainedModel, wanted: bool | None) -> bool:
    """Whether finished rows are to be kept, as asked or by the size of the model."""
    if wanted is not None:
        return wanted
    return sum(weight.numel() for weight in model.parameters()) >= FEWEST_KEPT_PARAMETERS


def _check_params(params: SamplingParams) -> dict[int, int]:
    """The forced pairs as a mapping, after checking the parameters."""
    if params.max_tokens < 1 or params.temperature < 0 or not 0 < params.top_p <= 1:
        raise ValueError(f"impossible sampling parameters: {params}")
    forced = dict(params.forced_after)
    if len(forced) < len(set(params.forced_after)):
        raise ValueError(f"a token is followed by two forced ones: {params.forced_after}")
    return forced

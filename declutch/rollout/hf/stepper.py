"""Decodes requests of the Hugging Face engine together, in a batch that they join and leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from declutch.ground.errors import UserError
from declutch.models.mode import evaluation_mode
from declutch.models.precision import CastKeeper, computing
from declutch.records import Completion
from declutch.rollout.hf.batches import BatchLimits
from declutch.rollout.hf.chance import draw_uniforms
from declutch.rollout.hf.decoder import Decoder
from declutch.rollout.hf.response import Response
from declutch.rollout.hf.sampling import sample_tokens

FIRST_ROOM = 64
"""Tokens of a response that the cache has room for at first; it grows."""


class HFStepper:
    """The HF engine's batch, decoded step by step: requests join it and leave it at every step.

    Args:
        model: samples.
        limits: of the batch.
        make_decoder: the model's state for the rows of a batch.
        jump_forward: add forced tokens without asking the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        limits: BatchLimits,
        make_decoder: Callable[[], Decoder],
        jump_forward: bool,
    ) -> None:
        self._model = model
        self._limits = limits
        self._make_decoder = make_decoder
        self._jump_forward = jump_forward
        self._decoder: Decoder | None = None
        self._waiting: list[Response] = []
        self._live: list[Response] = []
        self._modules: list[nn.Module] = []
        self._casts = CastKeeper()

    def queue(self, response: Response) -> None:
        """Have a response that has not begun wait for a place in the batch."""
        self._waiting.append(response)

    def step(self) -> list[tuple[int, Completion]]:
        """Let waiting requests join, and add a token or more to most responses; the finished ones.

        Raises:
            UserError: the model's scores are not finite.
        """
        finished: list[Response] = []
        if not self._live:
            # Nobody changes a model while rows of it are in the batch; to list its modules at every
            # step takes a while.
            self._modules = list(self._model.modules())
        mode = evaluation_mode(self._model, self._modules)
        self._casts.begin()
        try:
            with torch.inference_mode(), mode, computing(self._model):
                self._admit(finished)
                if self._live:
                    self._feed(finished)
        except BaseException:
            # The cache's memory may hold anything now: it is not used again.
            self._decoder = None
            raise
        if not self._live and not self._waiting:
            self._casts.end()
        # Tensors made in inference mode could not be learned from.
        return [(response.number, response.to_completion()) for response in finished]

    def clear(self) -> None:
        """Forget all requests, and let go of what is kept for them."""
        if self._live or self._waiting:
            # Nobody waits for them any more, and their rows are still in the cache.
            self._waiting, self._live, self._decoder = [], [], None
        self._casts.end()

    def _admit(self, finished: list[Response]) -> None:
        if not self._waiting:
            return
        count = self._limits.count_admitted(
            [response.max_length for response in self._live],
            [response.max_length for response in self._waiting],
        )
        if count == 0:
            return
        new, self._waiting = self._waiting[:count], self._waiting[count:]
        if self._decoder is None:
            self._decoder = self._make_decoder()
        room = min(FIRST_ROOM, max(response.constraints.params.max_tokens for response in new))
        logits, order = self._decoder.admit([response.prompt for response in new], room)
        new = [new[index] for index in order]
        self._live += new
        self._sample(new, logits)
        self._leave(finished)

    def _feed(self, finished: list[Response]) -> None:
        """Feed the model what it has not seen of the responses, and sample where that was all."""
        assert self._decoder is not None
        width = self._decoder.choose_width([len(response.pending) for response in self._live])
        logits = self._decoder.feed([response.pending[:width] for response in self._live])
        for response in self._live:
            del response.pending[:width]
        ready = [index for index, response in enumerate(self._live) if not response.pending]
        if len(ready) < len(self._live):
            logits = logits[ready]
        self._sample([self._live[index] for index in ready], logits)
        self._leave(finished)

    def _sample(self, responses: Sequence[Response], logits: Tensor) -> None:
        """Add a token to every response, and the forced ones after it."""
        ways: dict[tuple[float, float], list[int]] = {}
        for index, response in enumerate(responses):
            params = response.constraints.params
            ways.setdefault((params.temperature, params.top_p), []).append(index)
        for (temperature, top_p), rows in ways.items():
            chosen = [responses[row] for row in rows]
            uniforms = draw_uniforms(
                [each.seed for each in chosen], [each.place for each in chosen]
            )
            allowed = [each.choices() for each in chosen]
            tokens, logprobs = sample_tokens(
                logits if len(ways) == 1 else logits[rows],
                allowed,
                uniforms.to(logits.device),
                temperature,
                top_p,
            )
            if not all(map(math.isfinite, logprobs)):
                raise UserError(
                    "the model's scores are not finite: its weights have diverged; go back to an "
                    "earlier checkpoint and lower optimizer.lr"
                )
            for each, token, logprob, ids in zip(chosen, tokens, logprobs, allowed, strict=True):
                each.append(token, logprob, ids)
                if self._jump_forward:
                    each.jump()

    def _leave(self, finished: list[Response]) -> None:
        """Take finished responses out of the batch."""
        assert self._decoder is not None
        done = [response for response in self._live if response.is_done]
        if not done:
            return
        finished += done
        kept = swap_out([response.is_done for response in self._live])
        if kept or self._waiting:
            self._decoder.keep(kept)
        else:
            self._decoder.close()
        self._live = [self._live[index] for index in kept]


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

"""Turn chat requests into prompts for a local model, and what it samples into answers."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedModel

from declutch.endpoint.server.protocol import Answer, ChatBody, Message, RequestError
from declutch.models.load import pad_token_id
from declutch.records import Completion, Request, SamplingParams
from declutch.rollout.hf.engine import HFEngine


@dataclass(frozen=True)
class Sampling:
    """How a chat request to the served model wants its answers sampled.

    Only requests that agree in it share a batch.
    """

    temperature: float
    top_p: float
    max_tokens: int
    stops: tuple[str, ...]


@dataclass(frozen=True)
class PreparedRequest:
    """A chat request in the form that the served model takes: a prompt i64[P], and its seeds.

    Each of its answers has a seed of its own.
    """

    prompt_ids: Tensor
    seeds: tuple[int, ...]
    sampling: Sampling


class ServedModel:
    """The served model behind `declutch serve`: a local causal LM that answers chat requests.

    Args:
        model, tokenizer: what answers.
        name: what requests must call it.
        max_batch: how many answers are sampled at once.
        default_max_tokens: limit of an answer to a request that sets none.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        name: str,
        max_batch: int,
        default_max_tokens: int,
    ) -> None:
        self.name = name
        self.max_batch = max_batch
        self._tokenizer = tokenizer
        self._engine = HFEngine(model, pad_token_id(tokenizer), max_batch)
        self._default_max_tokens = default_max_tokens
        self._end_ids = _end_ids(model, tokenizer)
        config = model.config.get_text_config()
        self._num_positions: int = getattr(config, "max_position_embeddings", None) or sys.maxsize
        self._unused = torch.Generator()

    def prepare(self, body: ChatBody) -> PreparedRequest:
        """Make the prompt of a request, and settle how its answers are sampled.

        Raises:
            RequestError: 400, for messages that the chat template refuses, for no text at all, and
                for more tokens than the model has positions for.
        """
        ids = self._encode(body.messages)
        if not ids:
            raise RequestError(400, "the messages hold no text", "messages")
        # The last token of an answer is never fed to the model, so it needs no position.
        room = self._num_positions + 1 - len(ids)
        wanted = body.max_completion_tokens or body.max_tokens
        if room < (wanted or 1):
            raise RequestError(
                400,
                f"this model has {self._num_positions} positions, but the messages are "
                f"{len(ids)} tokens and the answer may have {wanted or 1}; shorten either",
                "messages",
                "context_length_exceeded",
            )
        sampling = Sampling(
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            max_tokens=wanted or min(self._default_max_tokens, room),
            stops=body.stops,
        )
        first = secrets.randbits(62) if body.seed is None else body.seed % (1 << 62)
        seeds = tuple(first + index for index in range(body.n or 1))
        return PreparedRequest(torch.tensor(ids, dtype=torch.long), seeds, sampling)

    def answer(
        self, prepared: Sequence[PreparedRequest], check: Callable[[], None]
    ) -> list[list[Answer]]:
        """Answer chat requests of equal `sampling` in one call of the engine.

        Args:
            check: called for every token; an exception it raises ends the call.
        Returns:
            For each request, an answer for each of its seeds.
        """
        sampling = prepared[0].sampling
        requests = [
            Request(each.prompt_ids, generator=torch.Generator().manual_seed(seed))
            for each in prepared
            for seed in each.seeds
        ]
        params = SamplingParams(
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            stop_ids=self._end_ids,
            top_p=sampling.top_p,
            has_ended=self._end_test(sampling.stops, check),
        )
        completions = iter(self._engine.generate(requests, params, self._unused))
        return [
            [self._read(next(completions), sampling.stops) for _ in each.seeds] for each in prepared
        ]

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        if not getattr(self._tokenizer, "chat_template", None):
            text = "\n".join(message.text for message in messages)
            return list(self._tokenizer.encode(text))
        turns = [{"role": message.role, "content": message.text} for message in messages]
        try:
            ids: list[int] = self._tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except TemplateError as error:
            raise RequestError(
                400, f"the model's chat template refuses the messages: {error}", "messages"
            ) from None
        return ids

    def _end_test(
        self, stops: tuple[str, ...], check: Callable[[], None]
    ) -> Callable[[Sequence[int]], bool]:
        # Every token of a stop text holds at least one of its bytes, so that this many tokens hold
        # all of it; one more keeps the white space that some tokenizers drop before the first.
        width = 1 + max((len(stop.encode()) for stop in stops), default=0)

        def has_ended(tokens: Sequence[int]) -> bool:
            check()
            if not stops:
                return False
            tail = self._tokenizer.decode(list(tokens[-width:]))
            return any(stop in tail for stop in stops)

        return has_ended

    def _read(self, completion: Completion, stops: tuple[str, ...]) -> Answer:
        ids = completion.token_ids.tolist()
        kept = ids[:-1] if ids[-1] in self._end_ids else ids
        text = self._tokenizer.decode(kept)
        end = min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))
        return Answer(text[:end], len(ids), completion.is_truncated)


def _end_ids(model: PreTrainedModel, tokenizer: Any) -> tuple[int, ...]:
    """Every token that the tokenizer or the model's generation settings call an end of text."""
    settings = model.generation_config.eos_token_id if model.generation_config else None
    also = settings if isinstance(settings, list) else [settings]
    ids = [tokenizer.eos_token_id, *also]
    return tuple(dict.fromkeys(each for each in ids if each is not None))

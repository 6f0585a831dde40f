"""The protocol of every sampling engine: prompt token ids in, sampled token ids out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from torch import nn

from declutch.ground.streams import derive_seed
from declutch.records import Completion, Request, SamplingParams

T = TypeVar("T")


class Engine(Protocol):
    """The protocol of the rollout's engines, which sample a language model's responses.

    An engine keeps nothing that could change a response but the model's weights.
    """

    async def sample(self, request: Request) -> Completion:
        """Sample the response to a request, while others are sampled as well.

        What is sampled is a function of the request, its seed and parameters included, and of the
        weights: whatever else the engine has to do changes nothing but rounding.
        """
        ...

    def sync(self, model: nn.Module) -> None:
        """Sample with the weights that `model` has now; to be called after every update of them."""
        ...


def is_exact(engine: Engine) -> bool:
    """Whether a rollout engine's log-probabilities are the learner's but for rounding.

    An engine says so by an attribute `is_exact`; one that does not is taken for another program.
    """
    return bool(getattr(engine, "is_exact", False))


def max_prompt_tokens(engine: Engine, params: SamplingParams) -> int | None:
    """How many tokens a prompt to an engine may have for such responses; None for no bound.

    An engine says so by a method `max_prompt_tokens(params)`.
    """
    ask = getattr(engine, "max_prompt_tokens", None)
    return None if ask is None else ask(params)


def holding(engine: Engine) -> AbstractContextManager[None]:
    """Tell a rollout's engine that the weights stay as they are, so that it may keep more than now.

    An engine says that it makes use of that by a method `holding()`, which gives a context.
    """
    hold = getattr(engine, "holding", None)
    return nullcontext() if hold is None else hold()


def fill_requests(
    requests: Sequence[Request], params: SamplingParams | None, seed: int
) -> list[Request]:
    """Give requests to an engine the parameters and seeds that they lack, a seed to each place."""
    return [
        replace(
            request,
            params=request.params or params,
            seed=derive_seed(seed, "request", index) if request.seed is None else request.seed,
        )
        for index, request in enumerate(requests)
    ]


def sample_all(
    engine: Engine, requests: Sequence[Request], params: SamplingParams | None = None, seed: int = 0
) -> list[Completion]:
    """Have an engine sample the responses to many requests at once, and wait for all of them.

    Args:
        params: of the requests that bring none of their own.
        seed: what the seeds of the requests without one are derived from.
    """

    async def ask() -> list[Completion]:
        asked = fill_requests(requests, params, seed)
        return list(await asyncio.gather(*(engine.sample(request) for request in asked)))

    return run_here(ask())


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, such as one that waits for an engine, to its end from plain code.

    In a notebook, whose own loop of events is running already, it runs in a thread of its own.
    """
    found: list[T] = []

    async def keep() -> None:
        # A result of asyncio's own task would be written out as text, episodes and tensors and all:
        # `signal` does so with the task when asyncio takes its handler of Ctrl-C back.
        found.append(await coroutine)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(keep())
    else:
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(asyncio.run, keep()).result()
    return found[0]

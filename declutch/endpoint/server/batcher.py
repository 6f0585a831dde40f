"""Answer requests that wait at the same time in one call of the model's engine."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from declutch.endpoint.server.model import PreparedRequest, ServedModel
from declutch.endpoint.server.protocol import Answer, RequestError
from declutch.errors import UserError

GATHER_SECONDS = 0.005
"""How long a request waits for others to join it when nothing is being sampled."""


class _Stopped(Exception):
    """Raised inside the engine's thread to give up a call, as the server is going down."""


@dataclass(frozen=True)
class _Waiting:
    """A request that waits for its answers, and how to tell that nobody wants them any more."""

    request: PreparedRequest
    is_gone: Callable[[], Awaitable[bool]]
    reply: asyncio.Future[list[Answer]]


class Batcher:
    """The server's batcher: gathers chat requests while the model works, to answer them together.

    The model works in a thread of its own, so that requests are read and refused meanwhile.

    Args:
        max_batch: how many answers are sampled at once.
    """

    def __init__(self, model: ServedModel, max_batch: int) -> None:
        self._model = model
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._is_filled = asyncio.Event()
        self._is_stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def answer(
        self, request: PreparedRequest, is_gone: Callable[[], Awaitable[bool]]
    ) -> list[Answer]:
        """Wait for the answers to one request.

        Args:
            is_gone: says whether nobody waits for the answers any more; then none is sampled.
        Raises:
            RequestError: 500 for a failure of the model, 503 while the server goes down.
        """
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, is_gone, reply))
        self._is_filled.set()
        return await reply

    async def run(self) -> None:
        """Answer requests until cancelled; what is being sampled then is given up."""
        try:
            while True:
                await self._is_filled.wait()
                await asyncio.sleep(GATHER_SECONDS)
                batch = await self._take()
                if batch:
                    await self._answer(batch)
        finally:
            self._is_stopping.set()
            self._thread.shutdown(wait=True)
            _fail(self._waiting, _going_down())

    async def _take(self) -> list[_Waiting]:
        """Take the longest waiting request and those sampled alike, as many as fit a batch."""
        batch: list[_Waiting] = []
        others: deque[_Waiting] = deque()
        room = self._max_batch
        while self._waiting:
            waiting = self._waiting.popleft()
            if await waiting.is_gone():
                _fail([waiting], RequestError(499, "nobody waits for the answer"))
            elif not batch or (
                waiting.request.sampling == batch[0].request.sampling
                and len(waiting.request.seeds) <= room
            ):
                batch.append(waiting)
                room -= len(waiting.request.seeds)
            else:
                others.append(waiting)
        self._waiting = others
        if not others:
            self._is_filled.clear()
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        requests = [waiting.request for waiting in batch]
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(
                self._thread, self._model.answer, requests, self._check_stopping
            )
        except asyncio.CancelledError:
            _fail(batch, _going_down())
            raise
        # Whatever goes wrong in the model, the server must answer these requests and go on.
        except Exception as error:
            text = str(error) if isinstance(error, UserError) else f"the model failed: {error!r}"
            _fail(batch, RequestError(500, text))
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.reply.done():
                waiting.reply.set_result(answer)

    def _check_stopping(self) -> None:
        if self._is_stopping.is_set():
            raise _Stopped


def _fail(batch: Iterable[_Waiting], error: RequestError) -> None:
    for waiting in batch:
        if not waiting.reply.done():
            waiting.reply.set_exception(error)


def _going_down() -> RequestError:
    return RequestError(503, "the server is going down")

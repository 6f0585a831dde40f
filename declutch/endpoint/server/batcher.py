"""Share the model's engine among the requests that wait: together where they agree, else in turns.

A turn is one call of the engine. It takes the request that has waited longest and those sampled
alike, an answer of each in rotation until the batch is full. While others wait, a turn ends after
a number of tokens, and its requests go to the end of the queue. So no request, however many or long
its answers, keeps another from its turn.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from declutch.endpoint.server.model import Draft, PreparedRequest, ServedModel
from declutch.endpoint.server.protocol import Answer, RequestError
from declutch.ground.errors import UserError

GATHER_SECONDS = 0.005
"""How long a request waits for others to join it when nothing is being sampled."""
PROMPT_SHARE = 8
"""A turn has at least one token for this many tokens of the longest prompt in it, as each turn
computes the prompts anew."""
_LONGEST_RETRY_SECONDS = 60


class _Stopped(Exception):
    """Raised inside the engine's thread to give up a call, as the server is going down."""


@dataclass(frozen=True)
class _Waiting:
    """A request that waits for its answers, and how to tell that nobody wants them any more."""

    request: PreparedRequest
    drafts: list[Draft]
    is_gone: Callable[[], Awaitable[bool]]
    reply: asyncio.Future[list[Answer]]
    is_suspect: bool = False
    """It was in a turn that failed, and so has its turns alone."""

    @property
    def unfinished(self) -> list[Draft]:
        return [draft for draft in self.drafts if not draft.is_finished]


class Batcher:
    """The server's batcher: gathers chat requests while the model works, and gives each its turn.

    The model works in a thread of its own, so that requests are read and refused meanwhile.

    Args:
        max_batch: how many answers are sampled at once.
        max_waiting: how many requests may be under way.
        turn_tokens: tokens of an answer in a turn while others wait.
    """

    def __init__(
        self, model: ServedModel, max_batch: int, max_waiting: int = 256, turn_tokens: int = 32
    ) -> None:
        self._model = model
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._turn_tokens = turn_tokens
        self._waiting: deque[_Waiting] = deque()
        self._num_under_way = 0
        self._seconds_each = 0.0
        self._is_filled = asyncio.Event()
        self._has_others = threading.Event()
        self._is_stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold one of the places for requests under way while one is read and answered.

        Raises:
            RequestError: 429 where all are taken, with the seconds after which to try again.
        """
        if self._num_under_way >= self._max_waiting:
            seconds = min(max(1, math.ceil(self._seconds_each)), _LONGEST_RETRY_SECONDS)
            raise RequestError(
                429,
                f"{self._num_under_way} requests are under way, as many as serve.max_waiting "
                f"allows; try again in {seconds} s",
                code="rate_limit_exceeded",
                retry_seconds=seconds,
            )
        began = time.monotonic()
        self._num_under_way += 1
        try:
            yield
        finally:
            self._num_under_way -= 1
            self._seconds_each = (self._seconds_each + time.monotonic() - began) / 2

    async def answer(
        self, request: PreparedRequest, is_gone: Callable[[], Awaitable[bool]]
    ) -> list[Answer]:
        """Wait for the answers to one request.

        Args:
            is_gone: says whether nobody waits for the answers any more; then no more are sampled.
        Raises:
            RequestError: 500 for a failure of the model, 503 while the server goes down.
        """
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, self._model.draft(request), is_gone, reply))
        self._has_others.set()
        self._is_filled.set()
        return await reply

    async def run(self) -> None:
        """Answer requests until cancelled; what is being sampled then is given up."""
        try:
            while True:
                await self._is_filled.wait()
                await asyncio.sleep(GATHER_SECONDS)
                turn = await self._take()
                if turn:
                    await self._play(turn)
        finally:
            self._is_stopping.set()
            self._thread.shutdown(wait=True)
            _fail(self._waiting, _going_down())

    async def _take(self) -> list[tuple[_Waiting, list[Draft]]]:
        """Take a turn's requests out of the queue, each with the answers that are sampled in it."""
        for waiting in list(self._waiting):
            if await waiting.is_gone():
                _fail([waiting], RequestError(499, "nobody waits for the answer"))
        queue = [waiting for waiting in self._waiting if not waiting.reply.done()]
        alike = queue[:1] if queue and queue[0].is_suspect else _find_alike(queue)
        turn = _rotate(alike, self._max_batch)
        taken = {id(waiting) for waiting, _ in turn}
        self._waiting = deque(each for each in queue if id(each) not in taken)
        if not self._waiting:
            self._is_filled.clear()
            self._has_others.clear()
        return turn

    async def _play(self, turn: Sequence[tuple[_Waiting, list[Draft]]]) -> None:
        """Play a turn; its requests are answered then, or wait for their next one."""
        batch = [waiting for waiting, _ in turn]
        drafts = [draft for _, chosen in turn for draft in chosen]
        longest = max(draft.request.prompt_ids.numel() for draft in drafts)
        length = max(self._turn_tokens, longest // PROMPT_SHARE)

        def is_over(num_tokens: int) -> bool:
            if self._is_stopping.is_set():
                raise _Stopped
            return num_tokens >= length and self._has_others.is_set()

        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._model.advance, drafts, is_over)
            answers = [
                None if each.unfinished else list(map(self._model.read, each.drafts))
                for each in batch
            ]
        except asyncio.CancelledError:
            _fail(batch, _going_down())
            raise
        # Whatever goes wrong in the model, the server must answer these requests and go on.
        except Exception as error:
            self._part(batch, error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if answer is None:
                self._queue(waiting)
            elif not waiting.reply.done():
                waiting.reply.set_result(answer)

    def _part(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """Fail the one request of a failed turn; of several, each has a turn alone to find it."""
        if len(batch) == 1:
            text = str(error) if isinstance(error, UserError) else f"the model failed: {error!r}"
            _fail(batch, RequestError(500, text))
            return
        for waiting in batch:
            for draft in waiting.drafts:
                draft.restart()
            self._queue(replace(waiting, is_suspect=True))

    def _queue(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._is_filled.set()
        if len(self._waiting) > 1:
            self._has_others.set()


def _find_alike(queue: Sequence[_Waiting]) -> list[_Waiting]:
    """Those that may be sampled together with the first."""
    return [
        each
        for each in queue
        if each.request.sampling == queue[0].request.sampling and not each.is_suspect
    ]


def _rotate(requests: Sequence[_Waiting], room: int) -> list[tuple[_Waiting, list[Draft]]]:
    """An unfinished answer of each request in rotation, as many as there is room for."""
    chosen: list[tuple[_Waiting, list[Draft]]] = [(waiting, []) for waiting in requests]
    for number in range(max((len(each.unfinished) for each in requests), default=0)):
        for waiting, drafts in chosen:
            if number < len(waiting.unfinished) and room:
                drafts.append(waiting.unfinished[number])
                room -= 1
    return [(waiting, drafts) for waiting, drafts in chosen if drafts]


def _fail(batch: Iterable[_Waiting], error: RequestError) -> None:
    for waiting in batch:
        if not waiting.reply.done():
            waiting.reply.set_exception(error)


def _going_down() -> RequestError:
    return RequestError(503, "the server is going down")

"""The HTTP application of `declutch serve`, and the process that runs it until it is stopped."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from declutch.config.serve import ServeConfig
from declutch.endpoint.server.batcher import Batcher
from declutch.endpoint.server.connection import guarded_connections
from declutch.endpoint.server.model import PreparedRequest, ServedModel
from declutch.endpoint.server.protocol import (
    RequestError,
    parse_body,
    write_completion,
    write_error,
    write_models,
)
from declutch.ground.errors import UserError

SHORT_BYTES = 65_536
"""Up to which length a request's body is read in the lane for short ones."""
GRACE_SECONDS = 10
"""Seconds that requests under way have to finish after the first signal to stop; a second signal
ends them."""


def make_app(
    model: ServedModel, limits: ServeConfig, on_ready: Callable[[], None] = lambda: None
) -> Starlette:
    """Make the HTTP app of `declutch serve`: chat completions, models and health.

    Args:
        on_ready: called once requests are answered.
    """
    batcher = Batcher(model, model.max_batch, limits.max_waiting, limits.turn_tokens)
    # Two lanes, so that a text as long as allowed keeps nobody else's short one waiting.
    lanes = [ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("short", "long")]
    created = int(time.time())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        on_ready()
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for lane in lanes:
            lane.shutdown(cancel_futures=True)

    def prepare(content: bytes) -> PreparedRequest:
        body = parse_body(content)
        if body.model != model.name:
            message = f"there is no model {body.model!r} here; the one served is {model.name!r}"
            raise RequestError(404, message, "model", "model_not_found")
        return model.prepare(body)

    async def complete(request: Request) -> Response:
        with batcher.admit():
            content = await _read_body(request, limits)
            lane = lanes[len(content) > SHORT_BYTES]
            loop = asyncio.get_running_loop()
            prepared = await loop.run_in_executor(lane, prepare, content)
            answers = await batcher.answer(prepared, request.is_disconnected)
        return JSONResponse(write_completion(model.name, prepared.prompt_ids.numel(), answers))

    async def complete_or_fail(request: Request) -> Response:
        try:
            return await complete(request)
        except (RequestError, ClientDisconnect):
            raise
        # A fault of ours ends one request with one message and not with a traceback.
        except Exception as error:
            raise RequestError(500, f"the server failed: {type(error).__name__}") from error

    async def list_models(request: Request) -> Response:
        return JSONResponse(write_models(model.name, created))

    async def tell_health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = RequestError(error.status_code, f"{request.url.path}: {error.detail.lower()}")
        assert isinstance(error, RequestError)
        headers = {"Retry-After": str(error.retry_seconds)} if error.retry_seconds else None
        return JSONResponse(write_error(error), status_code=error.status, headers=headers)

    async def leave(request: Request, error: Exception) -> Response:
        return Response(status_code=499)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", complete_or_fail, methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/health", tell_health),
        ],
        exception_handlers={
            RequestError: refuse,
            HTTPException: refuse,
            ClientDisconnect: leave,
        },
        lifespan=lifespan,
    )


async def _read_body(request: Request, limits: ServeConfig) -> bytes:
    """The body of a request, as long as it is not too long and comes in time."""
    too_long = RequestError(
        413, f"the body has more than serve.max_body_bytes={limits.max_body_bytes} bytes"
    )
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated[:20]) > limits.max_body_bytes:
        raise too_long
    content = bytearray()
    try:
        async with asyncio.timeout(limits.receive_seconds):
            async for part in request.stream():
                content += part
                if len(content) > limits.max_body_bytes:
                    raise too_long
    except TimeoutError:
        raise RequestError(
            408, f"the body did not come within serve.receive_seconds={limits.receive_seconds:g}"
        ) from None
    return bytes(content)


def serve(
    model: ServedModel,
    limits: ServeConfig,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve a local model by the HTTP app of `declutch serve` until SIGINT or SIGTERM.

    Requests under way then have `GRACE_SECONDS` to finish.

    Args:
        port: 0 takes a free one.
        on_ready: told the address, e.g. "http://127.0.0.1:8000/v1", once it answers.
    Raises:
        UserError: the address is taken, or not this machine's.
    """
    listener = open_listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}/v1"
    config = uvicorn.Config(
        make_app(model, limits, lambda: on_ready(url)),
        http=guarded_connections(limits),
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # The server handles the signals and then raises them once more for whoever handled them before;
    # that would end this process with an error, so they are ignored at that moment.
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        uvicorn.Server(config).run([listener])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        listener.close()


def open_listener(host: str, port: int) -> socket.socket:
    """Open the socket that the HTTP app of `declutch serve` listens on, before its own slow start.

    A connection made meanwhile waits instead of being refused.

    Raises:
        UserError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UserError(
            f"cannot listen at --host {host} --port {port}: {error.strerror or error}; --port 0 "
            "takes a free port"
        ) from None

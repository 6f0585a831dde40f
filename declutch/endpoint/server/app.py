"""The HTTP application of `declutch serve`, and the process that runs it until it is stopped."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from declutch.endpoint.server.batcher import Batcher
from declutch.endpoint.server.model import ServedModel
from declutch.endpoint.server.protocol import (
    RequestError,
    parse_body,
    write_completion,
    write_error,
    write_models,
)
from declutch.errors import UserError

GRACE_SECONDS = 10
"""Seconds that requests under way have to finish after the first signal to stop; a second signal
ends them."""


def make_app(model: ServedModel, on_ready: Callable[[], None] = lambda: None) -> Starlette:
    """Make the HTTP app of `declutch serve`: chat completions, models and health.

    Args:
        on_ready: called once requests are answered.
    """
    batcher = Batcher(model, model.max_batch)
    created = int(time.time())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        on_ready()
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def complete(request: Request) -> Response:
        body = parse_body(await request.body())
        if body.model != model.name:
            message = f"there is no model {body.model!r} here; the one served is {model.name!r}"
            raise RequestError(404, message, "model", "model_not_found")
        prepared = model.prepare(body)
        answers = await batcher.answer(prepared, request.is_disconnected)
        return JSONResponse(write_completion(model.name, prepared.prompt_ids.numel(), answers))

    async def list_models(request: Request) -> Response:
        return JSONResponse(write_models(model.name, created))

    async def tell_health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = RequestError(error.status_code, f"{request.url.path}: {error.detail.lower()}")
        assert isinstance(error, RequestError)
        return JSONResponse(write_error(error), status_code=error.status)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/health", tell_health),
        ],
        exception_handlers={RequestError: refuse, HTTPException: refuse},
        lifespan=lifespan,
    )


def serve(model: ServedModel, host: str, port: int, on_ready: Callable[[str], None]) -> None:
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
        make_app(model, lambda: on_ready(url)),
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

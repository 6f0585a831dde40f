"""Connections to the server of `declutch serve` that are cut off where they wait without end.

The HTTP server itself closes a connection that idles after an answer, but waits for ever for a
request that never comes, or comes byte by byte.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from declutch.config.serve import ServeConfig
from declutch.endpoint.server.protocol import RequestError, write_error


class GuardedConnection(H11Protocol):
    """A connection to the server whose client has to send its request in time.

    `guarded_connections` makes a class with the settings of a server.
    """

    limits = ServeConfig()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Run a deadline for as long as the head of a request is awaited or incomplete."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_watch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.receive_seconds, self._expire)

    def _stop_watch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        # While it answers an earlier request, the next one may take its time.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _refuse(self) -> None:
        limit = self.limits.max_connections
        body = json.dumps(write_error(RequestError(503, f"{limit} connections are open"))).encode()
        self.transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            b"Retry-After: 5\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()


def guarded_connections(limits: ServeConfig) -> type[GuardedConnection]:
    """The class of a server's connections that keep to these settings."""
    return type("GuardedConnection", (GuardedConnection,), {"limits": limits})

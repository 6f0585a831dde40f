"""Replies of an endpoint kept within bounds: their bytes, their sender, what their text holds.

A server may be broken, taken over or not the one that was meant. None of its replies may fill the
memory, whatever it unpacks to; send the questions on to another host; or bring characters along
that a terminal, a prompt or a page takes for commands.
"""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

import openai

_COMMANDS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tab and line ends, and those that turn the direction of text."""
_GZIP_OR_ZLIB = 47
"""How zlib is told to find out by itself which of the two it unpacks."""
_PIECE_BYTES = 65_536


def _http_package() -> Any:
    """The HTTP package that the installed openai is built on; its versions differ in that."""
    bases = openai.DefaultAsyncHttpxClient.__mro__
    (client,) = (base for base in bases if base.__name__ == "AsyncClient")
    return importlib.import_module(client.__module__.partition(".")[0])


_http = _http_package()


class ReplyRefusedError(Exception):
    """One of the replies that are not taken, since it is too long, too slow or from elsewhere."""


class BoundedStream(_http.AsyncByteStream):  # type: ignore[name-defined]
    """The body of a server's reply as it comes in: it breaks off where replies grow too long.

    Args:
        stream: the body as it comes.
        encoding: what its header says that it is packed with, "" for nothing.
        limit: bytes that it may have, packed and unpacked.
    """

    def __init__(self, stream: Any, encoding: str, limit: int) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ReplyRefusedError(f"the reply is packed with {encoding[:20]!r}, unasked")
        self._stream = stream
        self._packed = encoding not in ("", "identity")
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if self._packed else None
        received = unpacked = 0
        async for part in self._stream:
            received += len(part)
            self._check(received)
            while part:
                whole = part
                if unpacker is not None:
                    # No more at once than a piece: a kilobyte may unpack to a megabyte.
                    whole = _unpack(unpacker, part)
                    part = unpacker.unconsumed_tail
                else:
                    part = b""
                unpacked += len(whole)
                self._check(unpacked)
                yield whole

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise ReplyRefusedError(
                f"the reply is longer than endpoint.max_reply_bytes={self._limit}"
            )


def _unpack(unpacker: zlib._Decompress, part: bytes) -> bytes:
    try:
        return unpacker.decompress(part, _PIECE_BYTES)
    except zlib.error as error:
        raise ReplyRefusedError(f"the reply cannot be unpacked ({error})") from None


def open_client(
    base_url: str, key: str, timeout_seconds: float, max_bytes: int
) -> openai.AsyncOpenAI:
    """Open the connection that replies come in by, bounded in bytes, time and host.

    Args:
        base_url: of the server; a redirect to another scheme, host or port is refused.
        key: "" for a server that asks for none.
        timeout_seconds: between two bytes.
        max_bytes: of one reply, packed and unpacked.
    """
    home = _origin(_http.URL(base_url))

    async def stay_home(request: Any) -> None:
        if _origin(request.url) != home:
            raise ReplyRefusedError(
                f"the server redirects to another one, {request.url.scheme}://"
                f"{clean_text(request.url.host)[:100]}; if that one is meant, set endpoint.base_url"
            )

    async def bound(response: Any) -> None:
        encoding = response.headers.pop("content-encoding", "").strip().lower()
        response.stream = BoundedStream(response.stream, encoding, max_bytes)

    http_client = openai.DefaultAsyncHttpxClient(
        headers={"Accept-Encoding": "gzip"},
        event_hooks={"request": [stay_home], "response": [bound]},
    )
    return openai.AsyncOpenAI(
        base_url=base_url,
        # The openai package insists on a key; a server that asks for none ignores it.
        api_key=key or "none",
        max_retries=0,
        timeout=timeout_seconds,
        http_client=http_client,
    )


def clean_text(text: str) -> str:
    """A text of an endpoint's reply without halves of characters and without control characters."""
    return _COMMANDS.sub("", text.encode("utf-8", "replace").decode("utf-8"))


def _origin(url: Any) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port

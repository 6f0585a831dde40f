"""Replies on disk, one file each, under a hash of what was asked.

Files appear whole by renaming, so that any number of processes may share a folder; two that ask
the same at once write the same file. The key holds the model's name and not the server's address:
a server that moves to another port keeps its replies, and two models must not share a name.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from declutch.endpoint.chat import ChatRequest
from declutch.files import write_atomically

FORMAT = 1


def cache_key(model: str, request: ChatRequest) -> str:
    """A hash of all that an answer depends on."""
    asked = [
        FORMAT,
        model,
        [list(message) for message in request.messages],
        float(request.temperature),
        request.max_tokens,
        request.attempt,
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class ReplyCache:
    """A folder of replies.

    Args:
        folder: made when the first reply is written; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.expanduser()

    def read(self, key: str) -> str | None:
        """The reply's text; None where there is none, or its file is damaged."""
        if self._folder is None:
            return None
        try:
            data = json.loads(self._path(self._folder, key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        text = data.get("text") if isinstance(data, dict) else None
        return text if isinstance(text, str) else None

    def write(self, key: str, model: str, text: str) -> None:
        """Keep a reply.

        Raises:
            UserError: the folder cannot be written.
        """
        if self._folder is None:
            return
        write_atomically(
            self._path(self._folder, key),
            json.dumps({"model": model, "text": text}) + "\n",
            f"endpoint.cache_dir={self._folder}",
            "free some space, or set another folder",
        )

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"

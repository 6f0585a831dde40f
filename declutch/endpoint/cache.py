"""Keep a language model's replies on disk, one file for each, under a hash of what was asked.

A file is written under another name and then renamed, so that any number of processes may share a
folder without ever reading half a file. The hash covers the model's name and not the server's
address: a server that moves to another port keeps its replies, and no two models may share a
name.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from declutch.endpoint.chat import ChatRequest
from declutch.ground.contents import parse_json
from declutch.ground.files import write_atomically

FORMAT = 1


def cache_key(model: str, request: ChatRequest) -> str:
    """The cache's key for a language model's reply: a hash of all that the reply depends on.

    It is the name of the reply's file.
    """
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
    """A cache folder that keeps a language model's replies, so that no question is paid for twice.

    Args:
        folder: made when the first reply is written; None keeps no reply.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.expanduser()

    def read(self, key: str) -> str | None:
        """Read the text of a reply; None where there is none, or where its file is damaged."""
        if self._folder is None:
            return None
        try:
            data = parse_json(self._path(self._folder, key).read_bytes())
        except (OSError, ValueError):
            return None
        text = data.get("text") if isinstance(data, dict) else None
        return text if isinstance(text, str) else None

    def write(self, key: str, model: str, text: str) -> None:
        """Keep the text of a reply.

        Args:
            key: as `cache_key` makes it.
            model: the model's name, for whoever reads the file.
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

"""Encodes and decodes with a word-level tokenizer by a dictionary, in a tenth of its time.

The tokenizers of tiny models split a text into tags, words and runs of other characters. Few Python
operations do the same, with equal ids; whatever they might do differently is left to the tokenizer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_ELSEWHERE = ("normalized", "single_word", "lstrip", "rstrip")
"""Ways in which a tag may be found where it is not spelled, or not found where it is."""


class WordTokens:
    """A word-level tokenizer's dictionary, by which the agent's codec encodes and decodes.

    Args:
        vocabulary: ids of all tokens by their text, tags included.
        tags: tokens that are found in a text before it is split into words.
        unknown_id: of every other word.
    """

    def __init__(self, vocabulary: dict[str, int], tags: Sequence[str], unknown_id: int) -> None:
        longest_first = sorted(map(re.escape, tags), key=lambda tag: -len(tag))
        self._tags = re.compile(f"({'|'.join(longest_first)})") if tags else None
        # What a space, a letter or a digit is, is the same to both libraries within ASCII alone.
        self._words = re.compile(r"\w+|[^\w\s]+", re.ASCII)
        self._ids = vocabulary
        self._texts = {index: text for text, index in vocabulary.items()}
        self._unknown_id = unknown_id

    def encode(self, text: str) -> list[int] | None:
        """Turn a text into token ids; None where the tokenizer itself has to."""
        if not text.isascii():
            return None
        pieces = [text] if self._tags is None else self._tags.split(text)
        get, unknown, found = self._ids.get, self._unknown_id, list[int]()
        for number, piece in enumerate(pieces):
            # Every second piece is a tag.
            if number % 2:
                found.append(self._ids[piece])
            elif piece:
                found += [get(word, unknown) for word in self._words.findall(piece.lower())]
        return found

    def decode(self, ids: Sequence[int]) -> str | None:
        """Turn token ids into their text; None where the tokenizer itself has to."""
        try:
            return " ".join([self._texts[index] for index in ids])
        except KeyError:
            return None


def word_tokens(tokenizer: Any) -> WordTokens | None:
    """The dictionary of a word-level tokenizer, for the agent's codec; None for any other kind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or getattr(tokenizer, "clean_up_tokenization_spaces", True):
        return None
    parts = json.loads(backend.to_str())
    model, added = parts["model"], parts["added_tokens"]
    is_plain = (
        model["type"] == "WordLevel"
        and parts["normalizer"] == {"type": "Lowercase"}
        and parts["pre_tokenizer"] == {"type": "Whitespace"}
        and not any(parts[name] for name in ("decoder", "truncation", "padding"))
        and _adds_nothing(parts["post_processor"])
        and model["unk_token"] in model["vocab"]
        # Tags are found as they are spelled, wherever they stand.
        and not any(
            each[name]
            for each in added
            for name in ("normalized", "single_word", "lstrip", "rstrip")
        )
    )
    if not is_plain:
        return None
    tags = {each["content"]: each["id"] for each in added}
    return WordTokens({**model["vocab"], **tags}, list(tags), model["vocab"][model["unk_token"]])


def _adds_nothing(processor: Any) -> bool:
    """Whether what comes after splitting, as its settings say, leaves a single text alone."""
    if processor is None:
        return True
    return processor["type"] == "TemplateProcessing" and processor["single"] == [
        {"Sequence": {"id": "A", "type_id": 0}}
    ]

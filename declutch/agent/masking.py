"""Masks of admissible actions for any tokenizer: tags that it splits are found in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from declutch.agent.codec import Codec

ACTION, END = "<action>", "</action>"
LOOK_BACK = 32
"""Tokens in which a tag and what was written after it are looked for."""


@dataclass(frozen=True)
class SplitTags:
    """A mask for tags that are several tokens: what must follow in a response (`ActionMask.opens`).

    After a tag that closes the reasoning the tag of the action follows, and after that one of the
    admissible commands with its closing tag. A token may hold the end of a tag and the beginning of
    what follows it; what is left of that is then what follows.

    Attributes:
        codec: of the model.
        closings: the tags that close the reasoning.
        admissible: commands.
    """

    codec: Codec
    closings: tuple[str, ...]
    admissible: tuple[str, ...]

    def __call__(self, tokens: Sequence[int]) -> tuple[tuple[int, ...], ...] | None:
        """Which sequences of tokens may follow the tokens of a response; None for any."""
        text = self.codec.tokenizer.decode(list(tokens[-LOOK_BACK:]))
        _, action, begun = text.rpartition(ACTION)
        if action:
            return self._rest([command + END for command in self.admissible], begun)
        for closing in self.closings:
            _, closed, begun = text.rpartition(closing)
            if closed:
                return self._rest([ACTION], begun)
        return None

    def _rest(self, texts: Sequence[str], begun: str) -> tuple[tuple[int, ...], ...] | None:
        """What is left of texts of which the beginning was written; None where no text fits."""
        begun = begun.lstrip()
        left = [text[len(begun) :] for text in texts if text.startswith(begun)]
        sequences = tuple(self.codec.encode_line(text) for text in left if text)
        return sequences or None

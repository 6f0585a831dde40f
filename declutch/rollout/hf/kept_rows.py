"""Rows of the Hugging Face engine that are kept when their responses are finished.

An episode's next prompt begins as its last one did: the task and what was done so far come first.
The keys and values of that beginning are those that the row of the last response holds, as long as
the weights are the same. So finished rows are set aside, and a prompt that begins like one of them
starts from a copy. It is equal to what would be computed, but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from declutch.rollout.hf.prefix import common_length
from declutch.rollout.hf.slot_cache import Arena, SlotCache


@dataclass(frozen=True, eq=False)
class KeptRow:
    """A finished row of the Hugging Face engine: its tokens, and their keys and values."""

    tokens: tuple[int, ...]
    cache: SlotCache


class KeptRows:
    """Finished rows of the Hugging Face engine, the most recently used last, within a bound.

    Nothing is kept but between `open` and `close`, while whoever samples sees to it that the
    weights stay as they are.

    Args:
        max_slots: tokens of all of them; 0 keeps none.
    """

    def __init__(self, max_slots: int) -> None:
        self._max_slots = max_slots
        self._rows: list[KeptRow] = []
        self._num_open = 0

    @property
    def num_slots(self) -> int:
        """How many tokens are kept."""
        return sum(len(row.tokens) for row in self._rows)

    @property
    def is_on(self) -> bool:
        """Whether rows are kept now."""
        return self._max_slots > 0 and self._num_open > 0

    def open(self) -> None:
        """Keep rows from now on; may be called again before `close`."""
        self._num_open += 1

    def close(self) -> None:
        """Keep no more rows, once this was called as often as `open`."""
        self._num_open -= 1
        if self._num_open == 0:
            self.clear()

    def keep(
        self,
        cache: SlotCache,
        rows: Sequence[int],
        tokens: Sequence[tuple[int, ...]],
        max_slots: int,
    ) -> None:
        """Set rows of a cache aside, by copying them.

        Args:
            tokens: what each of the rows holds.
            max_slots: as many tokens as there is room for.
        """
        for row, own in zip(rows, tokens, strict=True):
            self.shrink(max_slots - len(own))
            if len(own) <= min(max_slots, self._max_slots):
                kept = SlotCache(1, len(own), Arena(0))
                kept.copy_rows(cache, [row], [0], len(own))
                self._rows.append(KeptRow(own, kept))

    def shrink(self, max_slots: int) -> None:
        """Let go of those not used for longest, until there are at most so many tokens."""
        left, gone = self.num_slots, 0
        while gone < len(self._rows) and left > max_slots:
            left -= len(self._rows[gone].tokens)
            gone += 1
        del self._rows[:gone]

    def find(self, prompt: tuple[int, ...]) -> tuple[KeptRow, int] | None:
        """The row that begins most like a prompt, and how many tokens they share.

        The prompt's last token is never among them: the scores after it are what is wanted.
        """
        best, most = None, 0
        for row in reversed(self._rows):
            # Most rows of other episodes differ within what the best one shares already.
            if row.tokens[:most] == prompt[:most]:
                shared = min(common_length(row.tokens, prompt), len(prompt) - 1)
                if shared > most:
                    best, most = row, shared
        return None if best is None else (best, most)

    def release(self, rows: Sequence[KeptRow]) -> None:
        """Let go of rows whose beginnings are in use again, and will be kept with what follows."""
        self._rows = [row for row in self._rows if row not in rows]

    def clear(self) -> None:
        """Let go of all rows."""
        self._rows = []

"""A key/value cache in which a token's slot is its position, so that rows are independent.

Rows of different lengths need no padding inside the cache, nothing is copied when a token is
added, and rows can be copied, moved and dropped one by one. What lies in a slot above a row's
length is garbage: its attention weight is zero, and the row's own later tokens overwrite it. It
must be finite, though (zero times infinity is not zero), so fresh slots are zeros.

Notation: R rows, C slots of capacity, n rows and q tokens of one pass, H heads, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache


class SlotCache(Cache):  # type: ignore[misc]  # transformers exports it untyped
    """Keys and values of `num_rows` sequences.

    Args:
        num_rows: rows.
        capacity: slots of a row: one more than its tokens will ever be, for padding.
    """

    def __init__(self, num_rows: int, capacity: int) -> None:
        super().__init__(layers=[])
        self.num_rows = num_rows
        self.capacity = capacity
        self._keys: dict[int, Tensor] = {}  # layer -> [R, C, H, D]
        self._values: dict[int, Tensor] = {}
        self._first_row = 0
        self._start: int | None = 0
        self._slots: Tensor | None = None
        self._length = 0

    def aim(self, first_row: int, starts: Sequence[int], counts: Sequence[int]) -> None:
        """Say where the next forward pass writes: row first_row + i from slot starts[i] on.

        Args:
            starts, counts: first slot and number of tokens of each row; the pass is as wide as
                the largest count, what it has beyond a row's count is padding.
        """
        self._first_row = first_row
        self._length = max(start + count for start, count in zip(starts, counts, strict=True))
        self._start = starts[0] if min(starts) == max(starts) else None
        self._slots = None
        if self._start is None:
            begin = torch.tensor(starts)[:, None]
            # All padding of a row goes into the one slot above its tokens.
            above = torch.arange(max(counts)).minimum(torch.tensor(counts)[:, None])
            rows = torch.arange(first_row, first_row + len(starts))[:, None]
            self._slots = (rows * self.capacity + begin + above).flatten()

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store [n, H, q, D] and return the aimed rows' [n, H, longest, D]."""
        keys = self._store(self._keys, layer_idx, key_states)
        values = self._store(self._values, layer_idx, value_states)
        return keys, values

    def _store(self, layers: dict[int, Tensor], index: int, states: Tensor) -> Tensor:
        states = states.transpose(1, 2)  # [n, q, H, D]
        num, length, heads, size = states.shape
        if index not in layers:
            layers[index] = states.new_zeros(self.num_rows, self.capacity, heads, size)
        buffer = layers[index]
        rows = buffer[self._first_row : self._first_row + num]
        if self._start is not None:
            rows[:, self._start : self._start + length] = states
        else:
            assert self._slots is not None
            flat = buffer.view(self.num_rows * self.capacity, heads * size)
            slots = self._slots.to(states.device)
            flat.index_copy_(0, slots, states.reshape(num * length, heads * size))
        return rows[:, : self._length].transpose(1, 2)

    def copy_rows(
        self, source: SlotCache, from_rows: Sequence[int], to_rows: Sequence[int], length: int
    ) -> None:
        """Copy the first `length` slots of rows of `source`, which may be this cache."""
        for mine, theirs in ((self._keys, source._keys), (self._values, source._values)):
            for index, buffer in theirs.items():
                if index not in mine:
                    shape = (self.num_rows, self.capacity, *buffer.shape[2:])
                    mine[index] = buffer.new_zeros(shape)
                origin = torch.tensor(from_rows, device=buffer.device)
                target = torch.tensor(to_rows, device=buffer.device)
                mine[index][target, :length] = buffer[origin, :length]

    def resized(self, num_rows: int, capacity: int, length: int) -> SlotCache:
        """A copy of the first `num_rows` rows and `length` slots with another capacity."""
        new = SlotCache(num_rows, capacity)
        for mine, theirs in ((new._keys, self._keys), (new._values, self._values)):
            for index, buffer in theirs.items():
                mine[index] = buffer.new_zeros((num_rows, capacity, *buffer.shape[2:]))
                mine[index][:, :length] = buffer[:num_rows, :length]
        return new

    @property
    def attended(self) -> int:
        """Slots that the aimed forward pass looks at, its own tokens included."""
        return self._length

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Slots in use before the tokens of the aimed forward pass (the longest row's)."""
        return self._start or 0

    def get_mask_sizes(self, query_length: Any, layer_idx: int = 0) -> tuple[int, int]:
        """(slots attended, offset), where the model builds its own mask."""
        return self._length, 0

    @property
    def is_initialized(self) -> bool:
        return bool(self._keys)

    @property
    def is_compileable(self) -> bool:
        return False

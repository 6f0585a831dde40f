"""Statistics over segments: runs of equal ids in a sorted id column, without a Python loop.

Notation: S entries, N segments. Sums are taken in float64, so that a segment's statistics do not
depend on what else is in the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

STD_EPSILON = 1e-6


@dataclass(frozen=True)
class Segments:
    """The segments of a sorted id column: where the runs of equal ids begin, and how long they are.

    Attributes:
        index: i64[S], the segment (0..N-1) of each entry.
        start: i64[N], each segment's first entry.
        size: i64[N], entries of each segment.
    """

    index: Tensor
    start: Tensor
    size: Tensor

    def __len__(self) -> int:
        return int(self.size.numel())


def find_segments(ids: Tensor) -> Segments:
    """Find the segments, runs of equal ids, of a sorted column i64[S].

    Raises:
        ValueError: an id comes back after another one, so that the ids are not grouped.
    """
    values, index, size = torch.unique_consecutive(ids, return_inverse=True, return_counts=True)
    is_rising = bool((values[1:] > values[:-1]).all())  # as ids usually are
    if not is_rising and torch.unique(values).numel() != values.numel():
        raise ValueError("segment ids must be grouped: equal ids have to be adjacent")
    return Segments(index=index, start=size.cumsum(0) - size, size=size)


def segment_sum(values: Tensor, segments: Segments) -> Tensor:
    """Sum a column of credit's step table over each of its segments: [S] -> f64[N]."""
    total = torch.zeros(len(segments), dtype=torch.float64)
    return total.index_add(0, segments.index, values.double())


def segment_mean(values: Tensor, segments: Segments, weight: Tensor | None = None) -> Tensor:
    """Average a column over each of its segments: [S] -> f64[N]; exact where all values are equal.

    Args:
        weight: [S], positive; None weighs all entries alike.
    """
    first = values.double()[segments.start]
    offset = values.double() - first[segments.index]
    if weight is None:
        return first + segment_sum(offset, segments) / segments.size
    return first + segment_sum(offset * weight, segments) / segment_sum(weight, segments)


def segment_std(values: Tensor, segments: Segments) -> Tensor:
    """Unbiased standard deviation over each segment: [S] -> f64[N]; 0 for a singleton."""
    return _std_of(values.double() - segment_mean(values, segments)[segments.index], segments)


def _std_of(deviation: Tensor, segments: Segments) -> Tensor:
    """f64[N]: what `segment_std` is, of entries [S] that have had their segment's mean."""
    return (segment_sum(deviation.square(), segments) / (segments.size - 1).clamp(min=1)).sqrt()


def centre(values: Tensor, segments: Segments, divide_by_std: bool) -> Tensor:
    """Subtract each segment's mean, and divide by its std + 1e-6 where asked for: [S] -> f64[S].

    Exactly 0 in a singleton and where all values of a segment are equal.
    """
    deviation = values.double() - segment_mean(values, segments)[segments.index]
    if not divide_by_std:
        return deviation
    return deviation / (_std_of(deviation, segments)[segments.index] + STD_EPSILON)


def centre_by_id(values: Tensor, ids: Tensor, divide_by_std: bool) -> Tensor:
    """Centre a column over segments of equal ids in any order, as `centre` does: [S] -> f64[S]."""
    order = ids.argsort(stable=True)
    centred = torch.empty_like(values, dtype=torch.float64)
    centred[order] = centre(values[order], find_segments(ids[order]), divide_by_std)
    return centred


def spread(values: Tensor, counts: Tensor) -> Tensor:
    """Repeat each entry of a column as often as its segment is long: [N] -> [S]."""
    if counts.numel():
        fewest, most = (int(count) for count in counts.aminmax())
        if fewest == most:
            return values[:, None].expand(-1, most).reshape(-1)
    # PyTorch makes an index of every repetition first.
    repeated = np.repeat(values.numpy(), counts.numpy())
    return torch.from_numpy(repeated)


@dataclass(frozen=True)
class Grid:
    """The segments of a column side by side, so that all of them step through time together.

    Attributes:
        shape: (entries of the longest segment, N): a row a moment, a column a segment.
        place: i64[S], where each entry lies in the grid, row by row; None where all segments are
            equally long, since the grid is then the column's transpose.
    """

    shape: tuple[int, int]
    place: Tensor | None

    @classmethod
    def of(cls, segments: Segments) -> Grid:
        """The grid of segments."""
        if not len(segments):
            return cls((0, 0), None)
        shortest, longest = (int(size) for size in segments.size.aminmax())
        if shortest == longest:
            return cls((longest, len(segments)), None)
        time = torch.arange(len(segments.index)).sub_(segments.start[segments.index])
        return cls((longest, len(segments)), time.mul_(len(segments)).add_(segments.index))

    def lay_out(self, values: Tensor, num_later: int = 0) -> Tensor:
        """A column [S] as f64[longest + num_later, N]; 0 after the end of a segment."""
        longest, num = self.shape
        laid = torch.empty(longest + num_later, num, dtype=torch.float64)
        if self.place is None:
            laid[:longest].copy_(values.view(num, longest).T)
            laid[longest:].zero_()
        else:
            laid.zero_().view(-1).index_copy_(0, self.place, values.double())
        return laid

    def take_up(self, laid: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """A grid [longest, N] as the column [S] that it was laid out of."""
        if self.place is None:
            return torch.empty(laid.T.shape, dtype=dtype).copy_(laid.T).view(-1)
        return laid.view(-1).index_select(0, self.place).to(dtype)


def discounted_return(reward: Tensor, segments: Segments, gamma: float) -> Tensor:
    """Discounted return to the end of its segment, `sum over k >= t of gamma^(k-t) r_k`.

    Args:
        reward: [S], each segment in order of time.
        gamma: discount per entry, in [0, 1].
    Returns:
        f64[S].
    """
    grid = Grid.of(segments)
    to_come = grid.lay_out(reward)
    add_what_follows(to_come, gamma)
    return grid.take_up(to_come)


def add_what_follows(laid: Tensor, gamma: float) -> None:
    """Turn a grid of entries of segments, in place, into their discounted sums to the end."""
    for moment in reversed(range(len(laid) - 1)):
        laid[moment].add_(laid[moment + 1], alpha=gamma)

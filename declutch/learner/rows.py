"""Which samples share a row: those whose prompts begin alike, as far as it saves work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from declutch.learner.samples import Sample


@dataclass(frozen=True)
class Row:
    """A row of a learner's batch: samples with a common beginning of their prompts, computed once.

    Attributes:
        samples: at least one.
        num_shared: prompt tokens in common, at least 1; a single sample's whole prompt.
    """

    samples: tuple[Sample, ...]
    num_shared: int

    @property
    def length(self) -> int:
        own = sum(sample.num_tokens - self.num_shared for sample in self.samples)
        return self.num_shared + own


def single_rows(samples: Sequence[Sample]) -> list[Row]:
    """Lay the learner's samples out in rows of their own, with nothing shared."""
    return [Row((sample,), sample.prompt_ids.numel()) for sample in samples]


def shared_rows(samples: Sequence[Sample], max_length: int, break_even: float) -> list[Row]:
    """Lay the learner's samples out in rows that share the beginnings of their prompts.

    A row of L tokens is taken to cost `L + L^2 / break_even`. In the order of the prompts, each
    sample joins the row before it if that is cheaper than a row of its own.

    Args:
        samples: any order; equal prompts keep theirs.
        max_length: rows of several samples are no longer than this.
        break_even: row length at which attention costs as much as everything else.
    """
    prompts = [tuple(sample.prompt_ids.tolist()) for sample in samples]
    order = sorted(range(len(samples)), key=lambda index: prompts[index])
    rows: list[Row] = []
    for place, index in enumerate(order):
        sample = samples[index]
        alone = Row((sample,), len(prompts[index]))
        if rows:
            # In this order a row's common beginning is the shortest one between neighbours.
            common = _count_common(prompts[order[place - 1]], prompts[index])
            joined = Row((*rows[-1].samples, sample), min(rows[-1].num_shared, common))
            gain = sum(_cost(row.length, break_even) for row in (rows[-1], alone))
            gain -= _cost(joined.length, break_even)
            if joined.num_shared > 0 and gain > 0 and joined.length <= max_length:
                rows[-1] = joined
                continue
        rows.append(alone)
    return rows


def _cost(length: int, break_even: float) -> float:
    return length + length**2 / break_even


def _count_common(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))

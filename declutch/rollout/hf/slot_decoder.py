"""Runs a causal LM over growing rows of tokens, keeping keys and values at their positions."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from declutch.models.capabilities import can_fuse_now
from declutch.models.fused import Fused, fuse
from declutch.models.precision import compute_dtype, needs_mask
from declutch.rollout.hf.kept_rows import KeptRow, KeptRows
from declutch.rollout.hf.prefix import PrefixPlan, Segment, plan_prefixes
from declutch.rollout.hf.slot_cache import Arena, SlotCache

# A shared prefix computed apart costs a part of one more forward pass and of copying.
PREFIX_OVERHEAD_TOKENS = 32
# What a forward pass and each of its rows (which reads its whole past) cost beside the tokens, in
# tokens: padding unequal chunks to one width is weighed against another pass.
PASS_OVERHEAD_TOKENS = 48
ROW_OVERHEAD_TOKENS = 1
# Copying a kept row costs about what computing a few tokens more costs.
FEWEST_KEPT_TOKENS = 8


@dataclass(frozen=True)
class PassLimits:
    """What bounds the forward passes and rows of a `SlotDecoder`.

    Attributes:
        prefill_tokens: tokens of one forward pass over prompts.
        share_prefixes: compute a prefix that prompts share once.
        max_rows: rows at most.
        max_slots: rows times the slots of a row, and the tokens of rows that are kept.
    """

    prefill_tokens: int
    share_prefixes: bool
    max_rows: int
    max_slots: int


def cache_argument(model: PreTrainedModel) -> str:
    """By which argument a `SlotDecoder` hands a model its cache in the forward pass.

    Older versions of transformers call it past_key_values; newer ones call it cache, and warn of
    the former name at every call.
    """
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class SlotDecoder:
    """The slot decoder: keeps keys and values of rows in a `SlotCache`, shared prefixes once.

    Where the model's capability record allows it, the passes are fused ones, over weights that are
    copied whenever the first rows come in: the model must not be trained while there are rows.

    Args:
        model: a model whose capability record says `can_cache`, in the mode it is to run in.
        pad_id: fills up chunks of different lengths; never attended.
        limits: see there.
        arena: memory of the cache.
        kept: finished rows, for prompts that begin alike.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pad_id: int,
        limits: PassLimits,
        arena: Arena,
        kept: KeptRows,
    ) -> None:
        self._model = model
        self._cache_argument = cache_argument(model)
        self._pad_id = pad_id
        self._limits = limits
        self._arena = arena
        self._cache = SlotCache(0, 0, arena)
        self._kept = kept
        self._lengths: list[int] = []
        # What the rows hold, so that it is known of those that are kept.
        self._tokens: list[list[int]] = []
        self._fused: Fused | None = None

    def admit(self, prompts: Sequence[tuple[int, ...]], room: int) -> tuple[Tensor, list[int]]:
        """Start one row per prompt; equal prompts and shared prefixes are computed once."""
        base = len(self._lengths)
        if base == 0:
            self._fused = fuse(self._model) if can_fuse_now(self._model) else None
        unique = list(dict.fromkeys(prompts))
        overhead = PREFIX_OVERHEAD_TOKENS if self._limits.share_prefixes else 1 << 40
        plan, begun = self._plan(unique, overhead)
        # Rows are sorted by what is left to compute, so that neighbours need little padding.
        ranked = sorted(range(len(unique)), key=lambda i: plan.own[i].stop - plan.own[i].start)
        own = [plan.own[i] for i in ranked]
        self._make_room(base + len(prompts), max(s.stop for s in own) + room + 1)
        self._fill_shared(plan, own, unique)
        self._fill_begun(begun, own, base)
        logits = self._fill(self._cache, own, unique, base)
        # The first rows hold the unique prompts; their repetitions follow as copies.
        row_of = {unique[s.prompt]: row for row, s in enumerate(own)}
        firsts = {row_of[prompt]: i for i, prompt in reversed(list(enumerate(prompts)))}
        order = [firsts[row] for row in range(len(own))]
        repeats = sorted(set(range(len(prompts))) - set(order))
        if repeats:
            origins = [row_of[prompts[i]] for i in repeats]
            length = max(len(prompts[i]) for i in repeats)
            targets = range(base + len(own), base + len(prompts))
            self._cache.copy_rows(self._cache, [base + row for row in origins], targets, length)
            logits = torch.cat([logits, logits[origins]])
        order += repeats
        self._lengths += [len(prompts[i]) for i in order]
        self._tokens += [list(prompts[i]) for i in order]
        return logits, order

    def _plan(
        self, prompts: Sequence[tuple[int, ...]], overhead: int
    ) -> tuple[PrefixPlan, dict[int, KeptRow]]:
        """What is computed of distinct prompts, and the kept row that each of some starts from."""
        plan = plan_prefixes(prompts, overhead)
        if not self._kept.is_on:
            return plan, {}
        found = {index: self._kept.find(prompt) for index, prompt in enumerate(prompts)}
        # A prefix that prompts share is computed once anyway; a kept row has to hold more than it.
        begun = {
            index: kept
            for index, kept in found.items()
            if kept is not None and kept[1] > plan.own[index].start + FEWEST_KEPT_TOKENS
        }
        if not begun:
            return plan, {}
        rest = [index for index in range(len(prompts)) if index not in begun]
        shared: tuple[Segment, ...] = ()
        own = {
            index: Segment(index, start, len(prompts[index]), -1, 0)
            for index, (_, start) in begun.items()
        }
        if rest:
            others = plan_prefixes([prompts[index] for index in rest], overhead)
            shared = tuple(replace(each, prompt=rest[each.prompt]) for each in others.shared)
            own |= {
                rest[each.prompt]: replace(each, prompt=rest[each.prompt]) for each in others.own
            }
        return (
            PrefixPlan(shared, tuple(own[index] for index in range(len(prompts)))),
            {index: kept for index, (kept, _) in begun.items()},
        )

    def _fill_begun(self, begun: Mapping[int, KeptRow], own: list[Segment], base: int) -> None:
        """Copy the beginnings of kept rows to where prompts start from them."""
        for row, segment in enumerate(own):
            kept = begun.get(segment.prompt)
            if kept is not None:
                self._cache.copy_rows(kept.cache, [0], [base + row], segment.start)
        self._kept.release(list(begun.values()))

    def _make_room(self, num_rows: int, num_slots: int) -> None:
        """See to it that the cache has so many rows and slots, with some to spare if it grows."""
        rows, slots = self._cache.num_rows, self._cache.capacity
        if num_rows <= rows and num_slots <= slots:
            return
        if num_rows > rows > 0:
            num_rows = max(num_rows, min(self._limits.max_rows, rows * 3 // 2))
        # A small step up is likely to be followed by another.
        if num_slots > slots > 0:
            num_slots = max(num_slots, slots * 5 // 4)
        self._kept.shrink(self._limits.max_slots - max(num_rows, rows) * max(num_slots, slots))
        resized = self._cache.resized(
            max(num_rows, rows), max(num_slots, slots), len(self._lengths), self._longest()
        )
        self._cache.release()
        self._cache = resized

    def _longest(self) -> int:
        return max(self._lengths, default=0)

    def _fill_shared(
        self, plan: PrefixPlan, own: list[Segment], prompts: Sequence[tuple[int, ...]]
    ) -> None:
        """Compute the shared segments level by level and copy them to where they are needed."""
        above, row_of = SlotCache(0, 0, self._arena), dict[int, int]()
        base = len(self._lengths)
        for level in range(1 + max((s.level for s in plan.shared), default=-1)):
            indices = [i for i, s in enumerate(plan.shared) if s.level == level]
            indices.sort(key=lambda i: plan.shared[i].stop - plan.shared[i].start)
            segments = [plan.shared[i] for i in indices]
            cache = SlotCache(len(segments), max(s.stop for s in segments) + 1, self._arena)
            if level > 0:
                parents = [row_of[s.parent] for s in segments]
                length = max(s.start for s in segments)
                cache.copy_rows(above, parents, range(len(segments)), length)
            self._fill(cache, segments, prompts, 0, is_read=False)
            row_of = {index: row for row, index in enumerate(indices)}
            heirs = [row for row, s in enumerate(own) if s.parent in row_of]
            if heirs:
                parents = [row_of[own[row].parent] for row in heirs]
                length = max(own[row].start for row in heirs)
                self._cache.copy_rows(cache, parents, [base + row for row in heirs], length)
            above.release()
            above = cache
        above.release()

    def _fill(
        self,
        cache: SlotCache,
        segments: list[Segment],
        prompts: Sequence[tuple[int, ...]],
        base: int,
        is_read: bool = True,
    ) -> Tensor:
        """Compute segments, one per row of `cache` from `base` on; scores after each [rows, V].

        Where they are not read, the scores may be of no rows.
        """
        scores, first = [], 0
        while first < len(segments):
            stop = _end_of_batch(segments, first, self._limits.prefill_tokens)
            batch = segments[first:stop]
            chunks = [prompts[s.prompt][s.start : s.stop] for s in batch]
            starts = [s.start for s in batch]
            # A row longer than the limit is alone in its batch and goes in parts.
            size = self._limits.prefill_tokens
            while len(chunks) == 1 and len(chunks[0]) > size:
                self._forward(cache, base + first, starts, [chunks[0][:size]], is_read=False)
                starts, chunks = [starts[0] + size], [chunks[0][size:]]
            scores.append(self._forward(cache, base + first, starts, chunks, is_read))
            first = stop
        return torch.cat(scores)

    def feed(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """Append tokens to each row; scores of the next tokens [N, V]."""
        starts = self._lengths
        lengths = [a + len(b) for a, b in zip(starts, chunks, strict=True)]
        self._make_room(len(chunks), max(lengths) + 1)
        self._lengths = lengths
        for tokens, chunk in zip(self._tokens, chunks, strict=True):
            tokens.extend(chunk)
        return self._forward(self._cache, 0, starts, chunks)

    def choose_width(self, lengths: Sequence[int]) -> int:
        """How many waiting tokens a row is fed at most, so that padding costs least."""

        counts = Counter(lengths).items()

        def worth(width: int) -> float:
            fed = sum(min(length, width) * count for length, count in counts)
            return fed / (PASS_OVERHEAD_TOKENS + (ROW_OVERHEAD_TOKENS + width) * len(lengths))

        return max(range(1, max(lengths) + 1), key=worth)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop rows: row i becomes what row rows[i] was."""
        self._set_aside(sorted(set(range(len(self._lengths))) - set(rows)))
        moves = [(old, new) for new, old in enumerate(rows) if old != new]
        if moves:
            length = max(self._lengths[old] for old, _ in moves)
            origin, target = zip(*moves, strict=True)
            self._cache.copy_rows(self._cache, origin, target, length)
        self._lengths = [self._lengths[old] for old in rows]
        self._tokens = [self._tokens[old] for old in rows]

    def close(self) -> None:
        """Give the cache's memory back; rows can be started again."""
        self._set_aside(range(len(self._lengths)))
        self._cache.release()
        self._cache, self._lengths, self._tokens = SlotCache(0, 0, self._arena), [], []
        self._fused = None

    def _set_aside(self, rows: Sequence[int]) -> None:
        """Keep rows that are done with for prompts that begin like them."""
        if self._kept.is_on and rows:
            tokens = [tuple(self._tokens[row]) for row in rows]
            left = self._limits.max_slots - self._cache.num_rows * self._cache.capacity
            self._kept.keep(self._cache, rows, tokens, left)

    def _forward(
        self,
        cache: SlotCache,
        first: int,
        starts: list[int],
        chunks: Sequence[Sequence[int]],
        is_read: bool = True,
    ) -> Tensor:
        """Scores after the last token of each chunk [n, V]; chunks are padded on the right.

        Where they are not read, the scores may be of no rows.
        """
        device = self._model.device
        counts = [len(chunk) for chunk in chunks]
        longest = max(counts)
        padded = [(*chunk, *(self._pad_id,) * (longest - len(chunk))) for chunk in chunks]
        # Padding repeats the last position: learned positions may have no entry beyond it.
        steps = torch.arange(longest).minimum(torch.tensor(counts)[:, None] - 1)
        positions = (torch.tensor(starts)[:, None] + steps).to(device)
        cache.aim(first, starts, counts)
        if self._fused is not None:
            ids = torch.tensor(padded, device=device)
            mask = self._attention_mask(positions, max(starts), cache.attended)
            last = torch.tensor([[count - 1] for count in counts], device=device)
            read = None if longest == 1 else last[:, : int(is_read)]
            states = self._fused.hidden(ids, positions, mask, read, cache.update_both)
            return self._fused.read_out(states.flatten(0, 1))
        ends = sorted({count - 1 for count in counts})
        output = self._model(
            input_ids=torch.tensor(padded, device=device),
            attention_mask=self._attention_mask(positions, max(starts), cache.attended),
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1 if longest == 1 else torch.tensor(ends, device=device),
            **{self._cache_argument: cache},
        )
        logits: Tensor = output.logits
        if len(ends) == 1:
            return logits[:, -1]
        columns = torch.tensor([ends.index(count - 1) for count in counts], device=device)
        return logits[torch.arange(len(counts), device=device), columns]

    def _attention_mask(self, positions: Tensor, start: int, length: int) -> Any:
        """What the model takes as attention_mask: None, [n, 1, q, C], or one per layer type."""
        config = self._model.config.get_text_config()
        window = _window(config)
        is_plain = start == 0 and length > 1 and (window is None or length <= window)
        if is_plain and not needs_mask(self._model):
            return None  # plain causal: the fast kernels need no mask
        slots = torch.arange(length, device=positions.device)
        seen = slots <= positions[..., None]  # [n, q, C]
        full = self._as_mask(seen)
        if window is None or length <= window:
            return full
        sliding = self._as_mask(seen & (slots > positions[..., None] - window))
        if getattr(config, "layer_types", None) is None:
            return sliding
        return {"full_attention": full, "sliding_attention": sliding}

    def _as_mask(self, seen: Tensor) -> Tensor:
        # PyTorch's CPU kernel would turn a boolean mask into numbers again in every layer.
        if self._model.config._attn_implementation == "sdpa" and seen.device.type != "cpu":
            return seen[:, None]
        dtype = compute_dtype(self._model)
        lowest = torch.finfo(dtype).min
        zero = torch.zeros((), dtype=dtype, device=seen.device)
        return torch.where(seen, zero, lowest)[:, None]


def _end_of_batch(segments: list[Segment], first: int, max_tokens: int) -> int:
    """End of the longest run of rows from `first` on that fits into `max_tokens`, padding too."""
    stop, longest = first, 0
    while stop < len(segments):
        longest = max(longest, segments[stop].stop - segments[stop].start)
        if stop > first and longest * (stop - first + 1) > max_tokens:
            break
        stop += 1
    return stop


def _window(config: Any) -> int | None:
    """Width of the sliding attention, None where every layer sees everything."""
    types = getattr(config, "layer_types", None)
    if types is not None and "sliding_attention" not in types:
        return None
    window = getattr(config, "sliding_window", None)
    return int(window) if window else None

"""How requests are divided into batches that are decoded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transformers import PreTrainedModel

from declutch.models.precision import compute_dtype


def split_batches(
    prompts: Sequence[tuple[int, ...]], room: int, max_rows: int, max_slots: int
) -> Iterator[list[int]]:
    """Split a rollout engine's prompts into batches, within bounds of rows and memory.

    A batch is decoded together.

    Args:
        prompts: all of them.
        room: tokens a response may have.
        max_rows: rows of a batch at most.
        max_slots: rows times the longest prompt and response of a batch, at most.
    """
    batch: list[int] = []
    longest = 0
    for index in order_prompts(prompts, max_rows):
        length = len(prompts[index]) + room
        grown = max(longest, length)
        if batch and (len(batch) == max_rows or grown * (len(batch) + 1) > max_slots):
            yield batch
            batch, grown = [], length
        batch.append(index)
        longest = grown
    if batch:
        yield batch


def order_prompts(prompts: Sequence[tuple[int, ...]], max_rows: int) -> list[int]:
    """Order prompts for batches, so that consecutive ones are alike in length and share prefixes.

    Prompts that begin alike meet first; short runs of them are then sorted by length, the longest
    first, so that a shortage of memory shows at once.
    """
    by_text = sorted(range(len(prompts)), key=prompts.__getitem__)
    size = max(1, max_rows // 8)
    runs = [by_text[first : first + size] for first in range(0, len(by_text), size)]
    runs.sort(key=lambda run: -max(len(prompts[i]) for i in run))
    return [index for run in runs for index in run]


def cache_bytes_per_token(model: PreTrainedModel) -> int:
    """To size batches, the bytes of a token's keys and values; 1 where unknown."""
    config = model.config.get_text_config()
    if not hasattr(config, "num_attention_heads"):
        return 1
    try:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # Where layers differ, the library refuses to name one value; no layer keeps more than this.
    except Exception:
        heads, size = 1, config.hidden_size
    return int(config.num_hidden_layers * 2 * heads * size * compute_dtype(model).itemsize)

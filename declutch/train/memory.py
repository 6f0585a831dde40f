"""Estimate the memory that training a model will take on its device, and find settings that fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from declutch.config.files import override_config
from declutch.config.run import Config
from declutch.credit.registry import find_method
from declutch.learner.memory import MemoryEstimate, MemoryPart, PassShape, meter_pass
from declutch.learner.update import keeps_both_gradients
from declutch.models.outline import outlined
from declutch.models.reference import kept_bytes
from declutch.rollout.hf.batches import cache_bytes_per_token
from declutch.rollout.hf.engine import CPU_PREFILL_TOKENS, CUDA_PREFILL_TOKENS
from declutch.rollout.policy import CACHE_BYTES

ROOM = 0.9
"""The share of a device's memory that an estimate may reach: the rest is for what kernels take for
themselves, and for gaps between tensors."""
LEAST_TOKENS, MOST_TOKENS = 2048, 65536
"""Bounds of the tokens of a pass that are chosen by the memory: more bring no speed."""
BYTES_OF_SCORE = 20
"""Of a token of the vocabulary while one is drawn: logits, probabilities and their sums."""


@dataclass(frozen=True)
class Lengths:
    """How long training's prompts and responses are taken to be, in tokens."""

    prompt: int
    response: int

    @property
    def row(self) -> int:
        return self.prompt + self.response


def estimate_memory(shapes: Any, config: Config, lengths: Lengths) -> MemoryEstimate:
    """Estimate the memory that a training run takes on its model's device, part by part.

    Args:
        shapes: the model's, from `read_shapes`.
        config: of the run; the device decides how many prompts are computed at once.
        lengths: of prompts and responses.
    """
    on_cpu = _is_on_cpu(config)
    with outlined(shapes, config.model) as model:
        parts = [*_always(model, config), *_learning(model, config, lengths)]
        parts += _sampling(model, config, lengths, on_cpu)
        if config.loss.kl_coef > 0:
            parts += _probing(model, config, lengths)
    return MemoryEstimate(tuple(parts))


def _always(model: Any, config: Config) -> Iterator[MemoryPart]:
    weights, trained = _size(model.parameters()), _size(_trained(model))
    numbers = trained // 4
    whole = sum(parameter.numel() for parameter in model.parameters())
    note = f"{whole / 1e6:,.1f} million, of which {numbers / 1e6:,.1f} million are trained"
    yield MemoryPart("weights", weights + _size(model.buffers()), "always", note)
    of_number = 8 if config.optimizer.type == "adamw" else 2
    yield MemoryPart(
        "optimizer", of_number * numbers, "always", f"optimizer.type={config.optimizer.type}"
    )
    if config.loss.kl_coef > 0 and config.model.lora.rank is None:
        reference = config.model.reference
        kept = kept_bytes(model, reference) if reference.device is None else 0
        place = "with the model" if reference.device is None else f"on {reference.device}"
        yield MemoryPart("reference", kept, "always", f"of loss.kl_coef, kept {place}")
    if find_method(config.algorithm.type).critic is not None:
        copied = trained if config.model.lora.rank is not None else weights
        yield MemoryPart(
            "critic", copied + of_number * numbers, "always", f"of {config.algorithm.type}"
        )


def _learning(model: Any, config: Config, lengths: Lengths) -> Iterator[MemoryPart]:
    copies = 2 if config.gcd.enabled and keeps_both_gradients(model, config.gcd) else 1
    note = "the agent's and the task's" if copies == 2 else ""
    yield MemoryPart("gradients", copies * _size(_trained(model)), "learning", note)
    shape = _pass_shape(config, lengths)
    found = meter_pass(model, shape)
    tokens = f"of {shape.num_rows} x {lengths.row} tokens"
    yield MemoryPart("activations", found.kept, "learning", tokens)
    note = (
        f"scores of {shape.num_rows * lengths.response} response tokens, what layers compute with"
    )
    yield MemoryPart("temporary", found.peak - found.kept, "learning", note)


def _sampling(model: Any, config: Config, lengths: Lengths, on_cpu: bool) -> Iterator[MemoryPart]:
    rows = min(config.rollout.max_batch, config.train.tasks_per_iteration * config.train.group_size)
    allowed = config.rollout.cache_mib
    cache = cache_bytes_per_token(model) * rows * (lengths.row + 1)
    if allowed is not None or on_cpu:
        cache = min(cache, CACHE_BYTES if allowed is None else allowed << 20)
    yield MemoryPart("cache", cache, "sampling", f"of {rows} x {lengths.row} tokens, at most")
    vocabulary = int(model.config.get_text_config().vocab_size)
    prefill = CPU_PREFILL_TOKENS if on_cpu else CUDA_PREFILL_TOKENS
    shape = PassShape(max(1, prefill // lengths.prompt), lengths.prompt, 1)
    found = meter_pass(model, shape, learns=False).peak
    yield MemoryPart(
        "temporary", found + rows * vocabulary * BYTES_OF_SCORE, "sampling", "prompts and scores"
    )


def _probing(model: Any, config: Config, lengths: Lengths) -> Iterator[MemoryPart]:
    if config.model.lora.rank is None and config.model.reference.device == "cpu":
        visiting = kept_bytes(model, config.model.reference)
        yield MemoryPart("reference", visiting, "probing", "while it computes")
    found = meter_pass(model, _pass_shape(config, lengths), learns=False).peak
    yield MemoryPart("temporary", found, "probing", "a pass of the reference")


def _pass_shape(config: Config, lengths: Lengths) -> PassShape:
    num_rows = max(1, config.optimizer.pass_tokens // lengths.row)
    return PassShape(num_rows, lengths.prompt, lengths.response)


def find_fit(
    shapes: Any, config: Config, lengths: Lengths, num_bytes: int
) -> tuple[list[str], MemoryEstimate] | None:
    """Find settings with which a training run fits into a device's memory.

    What changes least is tried first: another way of computing the same, then other arithmetic,
    then adapters.

    Args:
        num_bytes: of the device.
    Returns:
        The settings to be changed, as KEY=VALUE, and the estimate with them; None where nothing
        helps.
    """
    found = estimate_memory(shapes, config, lengths)
    changes: list[str] = []
    for tries in _ways_to_save(config, lengths):
        if found.peak <= ROOM * num_bytes:
            break
        changed = override_config(config, [*changes, *tries], "doctor")
        now = estimate_memory(shapes, changed, lengths)
        if now.peak < found.peak:
            found, changes = now, [*changes, *tries]
    return (changes, found) if found.peak <= ROOM * num_bytes else None


def fit_passes(model: Any, config: Config, num_bytes: int) -> Config:
    """Choose how many tokens one of the training's passes computes, by the memory that is free.

    Args:
        model: as it is trained, already in the memory.
        config: of the run, returned with `optimizer.micro_batch_tokens` set.
        num_bytes: that are free beside the model.
    """
    lengths = Lengths(750, config.agent.max_response_tokens)
    with outlined(model.config, config.model) as outline:
        later = [part for part in _always(outline, config) if part.name != "weights"]
        copies = 2 if config.gcd.enabled and keeps_both_gradients(outline, config.gcd) else 1
        held = sum(part.num_bytes for part in later) + copies * _size(_trained(outline))
        one, three = (
            meter_pass(outline, PassShape(rows, lengths.prompt, lengths.response)).peak
            for rows in (1, 3)
        )
    of_row = max((three - one) // 2, 1)
    room = int(ROOM * num_bytes) - held - (one - of_row)
    # Steps of 1024, so that small differences do not cut other passes.
    tokens = room // of_row * lengths.row // 1024 * 1024
    chosen = min(max(tokens, LEAST_TOKENS), MOST_TOKENS)
    return override_config(config, [f"optimizer.micro_batch_tokens={chosen}"], "free memory")


def _ways_to_save(config: Config, lengths: Lengths) -> Iterator[list[str]]:
    yield ["model.gradient_checkpointing=true"]
    if config.gcd.enabled and config.gcd.gradient_ratio is None:
        yield ["gcd.gradient_cosine=false"]
    fewer = max(lengths.row, 2048)
    if fewer < config.optimizer.pass_tokens:
        yield [f"optimizer.micro_batch_tokens={fewer}"]
    if not _is_on_cpu(config):
        yield ["model.dtype=bfloat16"]
        if config.model.lora.rank is None:
            yield ["model.reference.device=cpu"]
            yield ["optimizer.type=adamw_8bit"]
    yield ["rollout.max_batch=32"]
    if config.model.lora.rank is None:
        yield ["model.lora.rank=16", "model.reference.device=null", "optimizer.type=adamw"]


def _is_on_cpu(config: Config) -> bool:
    name = config.model.device
    return name == "cpu" or (name == "auto" and not torch.cuda.is_available())


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _size(tensors: Iterator[Tensor] | list[nn.Parameter] | Any) -> int:
    return sum(each.nbytes for each in tensors)

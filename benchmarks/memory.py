"""Memory that learning takes: saved bytes and peaks, measured and by the estimate, and by settings.

    python benchmarks/memory.py

A step is measured in a process of its own for each of three sizes (10 M, 30 M and 135 M weights,
the last of the shape of SmolLM2-135M, all with random weights): the bytes saved for the gradient of
a pass (`torch.autograd.graph.saved_tensors_hooks`), and by how much the process grew at its peak
through an optimizer step of two passes of the agent and two of the judge, from before there was a
model. One pass each would not do: a role's gradient is there beside the activations of a pass from
its second pass on. Beside it stands what `declutch doctor --model` would say.
Models of 1.5 and 7 billion weights (Qwen2.5's shapes) are computed without memory: as the estimate
has it now, and as it was with all logits at once and both gradients kept ("before").

The papers' setting is 16 tasks x 8 episodes, prompts of 600 tokens and responses of 150.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
import transformers

from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.files import load_config
from declutch.config.judge import GCDConfig
from declutch.config.run import Config
from declutch.learner.lesson import PassSettings, PolicyLesson
from declutch.learner.optimizer import build_optimizer
from declutch.learner.samples import Sample
from declutch.learner.update import Randomness, update
from declutch.records import Role

GIB, MIB = 1 << 30, 1 << 20
PROMPT, RESPONSE = 600, 150
BUDGET = PROMPT + RESPONSE
"""Tokens of a measured pass: a single row."""
PASSES = 2
"""How many passes a role has in the measured step."""
SMALL = {
    "10 M": {
        "vocab_size": 16384,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "30 M": {
        "vocab_size": 32768,
        "hidden_size": 384,
        "intermediate_size": 1152,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
    "135 M": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
}
LARGE = {
    "1.5 B": {
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "7 B": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}
PAPERS = (
    "agent.prompt=full",
    "agent.constrain_actions=false",
    f"agent.max_response_tokens={RESPONSE}",
    f"gcd.max_response_tokens={RESPONSE}",
    "gcd.enabled=true",
    "model.device=cuda",
    "model.dtype=bfloat16",
)
BEFORE = ("model.logits_mib=1048576", "gcd.gradient_cosine=true", "model.reference.dtype=float32")
LORA = "model.lora.rank=16"
CHECKPOINTING = "model.gradient_checkpointing=true"
CASES = (
    ("1.5 B", "all weights", ()),
    ("1.5 B", "all weights, checkpointing", (CHECKPOINTING,)),
    ("1.5 B", "LoRA", (LORA,)),
    ("1.5 B", "LoRA, checkpointing", (LORA, CHECKPOINTING)),
    ("7 B", "LoRA", (LORA,)),
    ("7 B", "LoRA, checkpointing", (LORA, CHECKPOINTING)),
)
"""Sizes and settings that are computed, see `LARGE`."""


@dataclass(frozen=True)
class Measured:
    """What a process found, in bytes: weights, saved for the gradient, growth at the peak."""

    weights: int
    saved: int
    peak: int


class Watch(threading.Thread):
    """Asks the system how large this process is, many times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._process = psutil.Process()
        self._is_over = threading.Event()

    @property
    def now(self) -> int:
        return int(self._process.memory_info().rss)

    def run(self) -> None:
        while not self._is_over.is_set():
            self.peak = max(self.peak, self.now)
            time.sleep(0.002)

    def stop(self) -> int:
        self._is_over.set()
        self.join()
        return self.peak


def small_config(size: str) -> Any:
    return transformers.LlamaConfig(
        **SMALL[size], tie_word_embeddings=True, max_position_embeddings=2048, pad_token_id=0
    )


def make_samples(vocabulary: int, count: int, role: Role) -> list[Sample]:
    draw = torch.Generator().manual_seed(int(role))

    def tokens(num: int) -> torch.Tensor:
        return torch.randint(1, vocabulary, (num,), generator=draw)

    flat = torch.full((RESPONSE,), -8.0)
    return [
        Sample(index, role, tokens(PROMPT), tokens(RESPONSE), (), torch.ones(RESPONSE), flat, flat)
        for index in range(count)
    ]


class Counted:
    """A lesson that counts the bytes saved for its gradient: the most at once, each memory once."""

    def __init__(self, lesson: PolicyLesson) -> None:
        self._lesson = lesson
        self.prompts, self.has_kl, self.step = lesson.prompts, lesson.has_kl, lesson.step
        self.saved = 0

    def backward(self, model: Any, chosen: Sequence[int]) -> Any:
        known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        now = 0

        def let_go(place: int, size: int) -> None:
            nonlocal now
            known.discard(place)
            now -= size

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal now
            storage = tensor.untyped_storage()
            place, size = storage.data_ptr(), storage.nbytes()
            if place not in known:
                known.add(place)
                weakref.finalize(storage, let_go, place, size).atexit = False
                now += size
                self.saved = max(self.saved, now)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return self._lesson.backward(model, chosen)


def measure(size: str, settings: Sequence[str]) -> Measured:
    """An optimizer step of the agent's and the judge's samples, not the first, in this process."""
    torch.set_num_threads(1)
    config = load_config(None, settings)
    warm_up()
    watch = Watch()
    before = watch.now
    watch.start()
    model: Any = transformers.AutoModelForCausalLM.from_config(small_config(size)).eval()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    set_up(model, config)
    opt = OptimizerConfig(mini_batch=None, num_mini_batches=1, micro_batch_tokens=BUDGET)
    optimizer = build_optimizer(model, opt)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    passes = PassSettings(LossConfig(kl_coef=0.0), 1.0, BUDGET, 0, RESPONSE)
    agent, judge = (
        PolicyLesson(make_samples(SMALL[size]["vocab_size"], PASSES, role), passes)
        for role in (Role.AGENT, Role.JUDGE)
    )
    counted = Counted(judge)
    streams = Randomness(torch.Generator(), torch.Generator())
    update(model, optimizer, agent, counted, opt, config.gcd, streams)
    return Measured(weights, counted.saved, watch.stop() - before)


def set_up(model: Any, config: Config) -> None:
    """Have a model learn as the settings say, where this version of the package knows them."""
    if config.model.gradient_checkpointing:
        from declutch.models.checkpointing import enable_checkpointing

        enable_checkpointing(model)
    if hasattr(config.model, "logits_mib"):
        from declutch.models.readout import set_logits_limit

        set_logits_limit(model, config.model.logits_mib)


def warm_up() -> None:
    """Load what PyTorch and transformers load once, so that it does not count."""
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1,
    )  # fmt: skip
    model: Any = transformers.AutoModelForCausalLM.from_config(config).eval()
    opt = OptimizerConfig(mini_batch=None, num_mini_batches=1)
    passes = PassSettings(LossConfig(kl_coef=0.0), 1.0, BUDGET, 0, RESPONSE)
    lesson = PolicyLesson(make_samples(64, 1, Role.AGENT), passes)
    streams = Randomness(torch.Generator(), torch.Generator())
    update(model, build_optimizer(model, opt), lesson, None, opt, GCDConfig(), streams)


def measure_apart(size: str, settings: Sequence[str]) -> Measured:
    command = [sys.executable, __file__, "--measure", size, *settings]
    # Memory that is freed goes back to the system at once, rather than into gaps of a heap.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def estimate_small(size: str, settings: Sequence[str]) -> int:
    """What the estimate says of the same step."""
    from declutch.train.memory import Lengths, estimate_memory

    fixed = ("loss.kl_coef=0", "gcd.enabled=true", "model.device=cpu")
    config = load_config(None, [*fixed, f"optimizer.micro_batch_tokens={BUDGET}", *settings])
    found = estimate_memory(small_config(size), config, Lengths(PROMPT, RESPONSE))
    return found.total("learning")


def show_small(sizes: Sequence[str]) -> None:
    print(
        "| size | settings | saved, MiB | measured peak, MiB | estimate, MiB | error |\n"
        "|---|---|---|---|---|---|"
    )
    small = {
        "all at once, both gradients": ("model.logits_mib=65536", "gcd.gradient_cosine=true"),
        "in parts, one gradient": ("model.logits_mib=4", "gcd.gradient_cosine=false"),
        "the same, checkpointing": (
            *("model.logits_mib=4", "gcd.gradient_cosine=false", CHECKPOINTING),
        ),
    }
    for size in sizes:
        for name, settings in small.items():
            found, expected = measure_apart(size, settings), estimate_small(size, settings)
            print(
                f"| {size} | {name} | {found.saved / MIB:,.0f} | {found.peak / MIB:,.0f} "
                f"| {expected / MIB:,.0f} | {expected / found.peak - 1:+.0%} |",
                flush=True,
            )


def show_large(cases: Sequence[tuple[str, str, Sequence[str]]]) -> None:
    from declutch.train.memory import Lengths, estimate_memory

    print(
        "\n| size | trained | activations, GiB | learning, GiB | sampling, GiB "
        "| learning before, GiB |\n|---|---|---|---|---|---|"
    )
    for size, name, settings in cases:
        shapes = transformers.Qwen2Config(**LARGE[size], max_position_embeddings=32768)
        row = []
        for more in ((), BEFORE):
            # Adapters have never had a reference beside them.
            given = [s for s in more if not (LORA in settings and "reference" in s)]
            config = load_config(None, [*PAPERS, *settings, *given])
            row.append(estimate_memory(shapes, config, Lengths(PROMPT, RESPONSE)))
        now, before = row
        kept = sum(part.num_bytes for part in now.parts if part.name == "activations")
        values = [kept, now.total("learning"), now.total("sampling"), before.total("learning")]
        print(f"| {size} | {name} | {' | '.join(f'{v / GIB:.1f}' for v in values)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=list(SMALL), choices=list(SMALL))
    parser.add_argument("--only-computed", action="store_true", help="leave out what is measured")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        size, *settings = args.measure
        print(json.dumps(vars(measure(size, settings))))
        return
    if not args.only_computed:
        show_small(args.sizes)
    show_large(CASES)


if __name__ == "__main__":
    main()

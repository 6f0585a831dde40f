"""Memory that learning takes: saved bytes and peaks, measured and by the estimate, and by settings.

    python benchmarks/memory.py
    python benchmarks/memory.py --device cuda

A step is measured in a process of its own for each of three sizes (10 M, 30 M and 135 M weights,
the last of the shape of SmolLM2-135M, all with random weights): the bytes saved for the gradient of
a pass (`torch.autograd.graph.saved_tensors_hooks`), and by how much the process grew at its peak
through an optimizer step of two passes of the agent and two of the judge, from before there was a
model. One pass each would not do: a role's gradient is there beside the activations of a pass from
its second pass on. Beside it stands what `declutch doctor --model` would say. On CUDA the peak is
that of the tensors that PyTorch had allocated, and the models of 1.5 and 7 billion weights are
measured, too, with random weights, in bfloat16 arithmetic and passes of 8,192 tokens.
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
"""Tokens of a measured pass of a small model: a single row."""
LARGE_BUDGET = 8192
"""Tokens of a measured pass of a large one."""
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
WAYS = (
    ("all at once, both gradients", ("model.logits_mib=65536", "gcd.gradient_cosine=true")),
    ("in parts, one gradient", ("model.logits_mib=4", "gcd.gradient_cosine=false")),
    (
        "the same, checkpointing",
        ("model.logits_mib=4", "gcd.gradient_cosine=false", CHECKPOINTING),
    ),
)
"""Settings that small models are measured with."""
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
    """What a process found: bytes of weights, saved for the gradient, and at the peak; seconds."""

    weights: int
    saved: int
    peak: int
    seconds: float


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

    def forget(self) -> None:
        """Nothing: what a model takes while it is made counts."""

    def stop(self) -> int:
        self._is_over.set()
        self.join()
        return self.peak


class CudaWatch:
    """Asks PyTorch how much memory of the GPU its tensors had."""

    @property
    def now(self) -> int:
        return int(torch.cuda.memory_allocated())

    def start(self) -> None:
        torch.cuda.init()

    def forget(self) -> None:
        """Forget the peak so far: adapters' own weights are made in float32 and lowered then."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def stop(self) -> int:
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated())


def make_shapes(size: str) -> Any:
    if size in LARGE:
        return transformers.Qwen2Config(**LARGE[size], max_position_embeddings=32768)
    return transformers.LlamaConfig(
        **SMALL[size], tie_word_embeddings=True, max_position_embeddings=2048, pad_token_id=0
    )


def tokens_of_pass(size: str) -> int:
    return LARGE_BUDGET if size in LARGE else BUDGET


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


def measure(size: str, settings: Sequence[str], device: str) -> Measured:
    """An optimizer step of the agent's and the judge's samples, not the first, in this process."""
    torch.set_num_threads(1)
    config = load_config(None, settings)
    warm_up()
    watch = CudaWatch() if device == "cuda" else Watch()
    before = watch.now
    watch.start()
    with torch.device(device):
        model: Any = transformers.AutoModelForCausalLM.from_config(
            make_shapes(size), dtype=torch.float32
        ).eval()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    set_up(model, config)
    watch.forget()
    budget = tokens_of_pass(size)
    opt = OptimizerConfig(mini_batch=None, num_mini_batches=1, micro_batch_tokens=budget)
    optimizer = build_optimizer(model, opt)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    passes = PassSettings(LossConfig(kl_coef=0.0), 1.0, budget, 0, RESPONSE)
    count = PASSES * max(1, budget // (PROMPT + RESPONSE))
    agent, judge = (
        PolicyLesson(make_samples(model.config.vocab_size, count, role), passes)
        for role in (Role.AGENT, Role.JUDGE)
    )
    counted = Counted(judge)
    streams = Randomness(torch.Generator(), torch.Generator())
    started = time.perf_counter()
    update(model, optimizer, agent, counted, opt, config.gcd, streams)
    peak = watch.stop() - before
    return Measured(weights, counted.saved, peak, time.perf_counter() - started)


def set_up(model: Any, config: Config) -> None:
    """Have a model learn as the settings say, where this version of the package knows them."""
    if config.model.gradient_checkpointing:
        from declutch.models.checkpointing import enable_checkpointing

        enable_checkpointing(model)
    if hasattr(config.model, "logits_mib"):
        from declutch.models.readout import set_logits_limit

        set_logits_limit(model, config.model.logits_mib)
    if config.model.dtype != "float32":
        from declutch.models.precision import set_compute_dtype

        set_compute_dtype(model, getattr(torch, config.model.dtype))
    if config.model.lora.rank is not None:
        from declutch.models.lora import add_lora

        add_lora(model, "", config.model.lora, 0)


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


def measure_apart(size: str, settings: Sequence[str], device: str) -> Measured:
    command = [sys.executable, __file__, "--device", device, "--measure", size, *settings]
    # Memory that is freed goes back to the system at once, rather than into gaps of a heap.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def estimate(size: str, settings: Sequence[str], device: str) -> int:
    """What the estimate says of the same step."""
    from declutch.train.memory import Lengths, estimate_memory

    fixed = ["loss.kl_coef=0", "gcd.enabled=true"]
    fixed += [f"optimizer.micro_batch_tokens={tokens_of_pass(size)}"]
    config = load_config(None, [*settings, *fixed, f"model.device={device}"])
    found = estimate_memory(make_shapes(size), config, Lengths(PROMPT, RESPONSE))
    return found.total("learning")


def show_measured(cases: Sequence[tuple[str, str, Sequence[str]]], device: str) -> None:
    print(
        "| size | settings | saved, MiB | measured peak, MiB | estimate, MiB | error | seconds |\n"
        "|---|---|---|---|---|---|---|"
    )
    for size, name, settings in cases:
        found, expected = measure_apart(size, settings, device), estimate(size, settings, device)
        print(
            f"| {size} | {name} | {found.saved / MIB:,.0f} | {found.peak / MIB:,.0f} "
            f"| {expected / MIB:,.0f} | {expected / found.peak - 1:+.0%} | {found.seconds:.1f} |",
            flush=True,
        )


def show_large(cases: Sequence[tuple[str, str, Sequence[str]]]) -> None:
    from declutch.train.memory import Lengths, estimate_memory

    print(
        "\n| size | trained | activations, GiB | learning, GiB | sampling, GiB "
        "| learning before, GiB |\n|---|---|---|---|---|---|"
    )
    for size, name, settings in cases:
        shapes, row = make_shapes(size), []
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
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only-computed", action="store_true", help="leave out what is measured")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        size, *settings = args.measure
        print(json.dumps(vars(measure(size, settings, args.device))))
        return
    if not args.only_computed:
        cases = [(size, name, settings) for size in args.sizes for name, settings in WAYS]
        if args.device == "cuda":
            cases += [(size, name, (*PAPERS, *settings)) for size, name, settings in CASES]
        show_measured(cases, args.device)
    show_large(CASES)


if __name__ == "__main__":
    main()

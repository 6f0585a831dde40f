"""Seconds for the diagnostics of coupling, against one backward pass or one product at a time.

    OMP_NUM_THREADS=1 python benchmarks/coupling.py [--size tiny] [--samples 200] [--rounds 1]

Models have random weights, in float32: "tiny" is a Qwen2 of 0.8 M parameters with samples of 53 +
9 tokens, "135m" has the shape of SmolLM2-135M with samples of 60 + 40 tokens. Ours and the naive
way take turns in the same process.

C1, inner products of the gradients of all pairs. The naive way makes one backward pass a sample,
keeps whole gradients, and takes one product a pair; "one matrix product" takes all products at once
instead. Where they do not fit into --memory-gib, it goes through blocks of samples
that do, and makes the gradients of a block anew for every other block: its time is then that of the
passes and products which it needs, measured on a few and multiplied. "Means alone" is one backward
pass a sample added up into four sums, which gives the cosines and nothing of what stands beside
them.

C4, the class gap. The naive way passes every sample through the model by itself, and takes the
products of the tokens of every pair of samples.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from declutch.coupling.gram import GramSettings, gradient_products
from declutch.coupling.measured import MeasuredModel, micro_batches, response_logprobs
from declutch.coupling.readout import readouts
from declutch.coupling.samples import LabelledSample
from declutch.coupling.tokens import coupling_matrix, measure_gaps

SIZES = {"tiny": (53, 9), "135m": (60, 40)}
TRIED = 4
"""How many backward passes of the naive way are measured where it is not run as a whole."""


def make_model(size: str) -> MeasuredModel:
    if size == "tiny":
        config = transformers.Qwen2Config(
            vocab_size=211,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            tie_word_embeddings=True,
        )
    else:
        config = transformers.LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        )
    torch.manual_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return MeasuredModel(size, network.eval(), Path())


def make_samples(model: MeasuredModel, lengths: tuple[int, int], count: int) -> list:
    draw = torch.Generator().manual_seed(0)
    vocabulary = model.network.config.vocab_size

    def ids(length: int) -> torch.Tensor:
        return torch.randint(3, vocabulary, (length,), generator=draw)

    return [
        LabelledSample(n + 1, ids(lengths[0]), ids(lengths[1]), n % 2, "in", str(n))
        for n in range(count)
    ]


def one_gradient(model: MeasuredModel, sample: LabelledSample) -> torch.Tensor:
    (micro,) = micro_batches([sample], model.device)
    model.network.zero_grad()
    response_logprobs(model.network, micro).sum().backward()
    return torch.cat([each.grad.flatten() for each in model.network.parameters()])


def naive_gram(model: MeasuredModel, samples: list) -> torch.Tensor:
    gradients = [one_gradient(model, sample) for sample in samples]
    out = torch.zeros(len(samples), len(samples))
    for i, one in enumerate(gradients):
        for j, other in enumerate(gradients[: i + 1]):
            out[i, j] = out[j, i] = one @ other
    return out


def one_product_gram(model: MeasuredModel, samples: list) -> torch.Tensor:
    gradients = torch.stack([one_gradient(model, sample) for sample in samples])
    return gradients @ gradients.T


def estimate_naive_gram(model: MeasuredModel, samples: list, memory: int) -> float:
    """Seconds of the naive way in blocks of gradients, from the time of a few."""
    size = sum(each.numel() for each in model.network.parameters()) * 4
    block = max(1, memory // (2 * size))
    num_blocks = -(-len(samples) // block)
    num_passes = len(samples) + block * num_blocks * (num_blocks - 1) // 2
    began = time.process_time()
    gradients = [one_gradient(model, sample) for sample in samples[:TRIED]]
    per_pass = (time.process_time() - began) / TRIED
    began = time.process_time()
    stacked = torch.stack(gradients)
    stacked @ stacked.T
    per_product = (time.process_time() - began) / TRIED**2
    return num_passes * per_pass + per_product * len(samples) ** 2 / 2


def naive_means(model: MeasuredModel, samples: list) -> torch.Tensor:
    sums: dict[tuple, torch.Tensor] = {}
    for sample in samples:
        key = (sample.domain, sample.label)
        gradient = one_gradient(model, sample)
        sums[key] = sums[key] + gradient if key in sums else gradient
    return torch.stack(list(sums.values()))


def naive_gap(model: MeasuredModel, samples: list) -> float:
    parts = []
    for sample in samples:
        (part,) = readouts(model, [sample])
        parts.append((part.hidden[0], part.error[0]))
    sums, counts = {0: 0.0, 1: 0.0, 2: 0.0}, {0: 0, 1: 0, 2: 0}
    for i, one in enumerate(samples):
        for j, other in enumerate(samples[:i]):
            product = (parts[i][1] @ parts[j][1].T) * (parts[i][0] @ parts[j][0].T)
            kind = 2 if one.label != other.label else int(one.label)
            sums[kind] += float(product.mean())
            counts[kind] += 1
    means = {kind: sums[kind] / max(1, counts[kind]) for kind in sums}
    return (means[0] + means[1]) / 2 - means[2]


def seconds(work: Callable[[], object], rounds: int) -> float:
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory-gib", type=float, default=4.0)
    given = parser.parse_args()
    model = make_model(given.size)
    samples = make_samples(model, SIZES[given.size], given.samples)
    memory = int(given.memory_gib * 2**30)
    settings = GramSettings(memory=memory)
    size = sum(each.numel() for each in model.network.parameters())
    fits = size * 4 * len(samples) <= memory
    lengths = " + ".join(map(str, SIZES[given.size]))
    print(f"{given.size}: {size:,} parameters, {len(samples)} samples of {lengths} tokens")
    print("CPU seconds; median of rounds")

    gram = gradient_products(model, samples[: min(4, len(samples))], settings)
    ours = seconds(lambda: gradient_products(model, samples, settings), given.rounds)
    if fits:
        naive = seconds(lambda: naive_gram(model, samples), given.rounds)
    else:
        naive = estimate_naive_gram(model, samples, memory)
    how = "exact" if fits else f"sketch of {settings.width} a group"
    show(f"C1 all pairs ({how})", ours, naive, "" if fits else "estimated from parts")
    if fits:
        at_once = seconds(lambda: one_product_gram(model, samples), given.rounds)
        show("C1, one matrix product", ours, at_once)
        show("C1, means alone", ours, seconds(lambda: naive_means(model, samples), given.rounds))

    gap = seconds(lambda: measure_gaps(model, samples), given.rounds)
    naive = seconds(lambda: naive_gap(model, samples), given.rounds)
    found, expected = measure_gaps(model, samples).raw["in"].value, naive_gap(model, samples)
    show("C4 gap", gap, naive, f"gap {found:.4g}, naive {expected:.4g}")
    matrix = seconds(lambda: coupling_matrix(model, samples), given.rounds)
    show("C4 all pairs", matrix, naive)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"scopes {len(gram.scopes)}; peak memory {peak:.2f} GiB, both ways")


def show(name: str, ours: float, naive: float, note: str = "") -> None:
    ratio = naive / ours if ours else float("inf")
    print(f"{name:<28} ours {ours:8.2f}  naive {naive:8.2f}  ratio {ratio:6.1f}  {note}")


if __name__ == "__main__":
    main()

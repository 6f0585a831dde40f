"""Seconds and memory of the diagnostics of coupling, against one sample or one pair at a time.

    OMP_NUM_THREADS=1 python benchmarks/coupling.py [--size tiny] [--samples 200] [--rounds 1]
    OMP_NUM_THREADS=1 python benchmarks/coupling.py --model runs/cold --file samples.jsonl

Without --model, models have random weights, in float32: "tiny" is a Qwen2 of 0.8 M parameters
with samples of 53 + 9 tokens, "135m" has the shape of SmolLM2-135M with samples of 60 + 40
tokens, and no two prompts begin alike, which is the worst case. Ours and the naive way take turns
in the same process. Memory is what a way takes at its peak beyond what was there before it.

C1, inner products of the gradients of all pairs. The naive way makes one backward pass a sample,
keeps whole gradients, and takes one product a pair; "one matrix product" takes all products at
once instead. "Means alone" is one backward pass a sample added up into four sums, which gives the
cosines and nothing of what stands beside them.

C4, the class gap. The naive way makes one backward pass a sample, keeps the read-out's gradient,
and takes one product a pair. "Tokens of pairs" passes every sample through the model by itself,
without a gradient, and takes the products of the tokens of every pair of samples.

C3, influence, of --pairs samples: the naive way computes every log-probability after every step
by itself. C5 and C6, similarity and layers: the naive way takes one sample at a time.

Where gradients do not fit into --memory-gib, a naive way goes through blocks of samples that do,
and makes the gradients of a block anew for every other block. With --tried, a naive way is run on
so many samples alone and its passes and products are multiplied ("estimated").
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import transformers

from declutch.coupling.gram import GramSettings, gradient_products
from declutch.coupling.influence import InfluenceSettings, measure_influence
from declutch.coupling.layers import compare_layers
from declutch.coupling.measured import MeasuredModel, load_measured
from declutch.coupling.samples import LabelledSample
from declutch.coupling.similarity import embed_prompts
from declutch.coupling.tokens import coupling_matrix, measure_gaps

SIZES = {"tiny": (53, 9), "135m": (60, 40)}


@dataclass
class Cost:
    """CPU seconds and GiB of memory at the peak."""

    seconds: float
    gib: float
    note: str = ""


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


def forward(model: MeasuredModel, sample: LabelledSample) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of a response and hidden states [L, D], by a plain pass."""
    ids = torch.cat([sample.prompt_ids, sample.response_ids])[None]
    out = model.network(input_ids=ids, use_cache=False, output_hidden_states=True)
    logprobs = out.logits[0, len(sample.prompt_ids) - 1 : -1].log_softmax(-1)
    return logprobs.gather(1, sample.response_ids[:, None]).sum(), out.hidden_states[-1][0]


def one_gradient(model: MeasuredModel, sample: LabelledSample) -> torch.Tensor:
    """The whole gradient of a sample, by a plain backward pass."""
    model.network.zero_grad()
    forward(model, sample)[0].backward()
    return torch.cat([each.grad.flatten() for each in model.network.parameters()])


def readout_gradient(model: MeasuredModel, sample: LabelledSample) -> torch.Tensor:
    """The read-out's part of it: the matrix is tied, so that its own gradient has more in it."""
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(module: torch.nn.Module, args: tuple, out: torch.Tensor) -> None:
        out.retain_grad()
        kept.append((args[0][0].detach(), out))

    handle = model.network.get_output_embeddings().register_forward_hook(keep)
    model.network.zero_grad()
    forward(model, sample)[0].backward()
    handle.remove()
    hidden, out = kept[0]
    return (out.grad[0].T @ hidden).flatten()


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


def naive_means(model: MeasuredModel, samples: list) -> torch.Tensor:
    sums: dict[tuple, torch.Tensor] = {}
    for sample in samples:
        key = (sample.domain, sample.label)
        gradient = one_gradient(model, sample)
        sums[key] = sums[key] + gradient if key in sums else gradient
    return torch.stack(list(sums.values()))


def mean_gap(samples: list, product: Callable[[int, int], float]) -> float:
    """The class gap of coupling per token, from the product of every pair."""
    sums, counts = {0: 0.0, 1: 0.0, 2: 0.0}, {0: 0, 1: 0, 2: 0}
    for i, one in enumerate(samples):
        for j, other in enumerate(samples[:i]):
            size = one.num_response_tokens * other.num_response_tokens
            kind = 2 if one.label != other.label else int(one.label)
            sums[kind] += product(i, j) / size
            counts[kind] += 1
    means = {kind: sums[kind] / max(1, counts[kind]) for kind in sums}
    return (means[0] + means[1]) / 2 - means[2]


def naive_gap(model: MeasuredModel, samples: list) -> float:
    gradients = [readout_gradient(model, sample) for sample in samples]
    return mean_gap(samples, lambda i, j: float(gradients[i] @ gradients[j]))


def token_gap(model: MeasuredModel, samples: list) -> float:
    parts = []
    with torch.no_grad():
        for sample in samples:
            start = len(sample.prompt_ids) - 1
            ids = torch.cat([sample.prompt_ids, sample.response_ids])[None]
            out = model.network(input_ids=ids, use_cache=False, output_hidden_states=True)
            error = -out.logits[0, start:-1].softmax(-1)
            error[torch.arange(len(error)), sample.response_ids] += 1
            parts.append((error, out.hidden_states[-1][0, start:-1]))

        def product(i: int, j: int) -> float:
            (error, hidden), (other_error, other_hidden) = parts[i], parts[j]
            return float(((error @ other_error.T) * (hidden @ other_hidden.T)).sum())

        return mean_gap(samples, product)


def naive_influence(model: MeasuredModel, samples: list, eta: float) -> torch.Tensor:
    out = torch.zeros(len(samples), len(samples))
    weights = [each.detach().clone() for each in model.network.parameters()]
    for i, sample in enumerate(samples):
        model.network.zero_grad()
        forward(model, sample)[0].backward()
        gradients = [each.grad.clone() for each in model.network.parameters()]
        for j, other in enumerate(samples):
            with torch.no_grad():
                before = forward(model, other)[0]
                for each, gradient in zip(model.network.parameters(), gradients, strict=True):
                    each.add_(gradient, alpha=eta)
                out[i, j] = (forward(model, other)[0] - before) / eta
                for each, weight in zip(model.network.parameters(), weights, strict=True):
                    each.copy_(weight)
    return out


def naive_similarity(model: MeasuredModel, samples: list) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack(
            [
                model.network.base_model(input_ids=each.prompt_ids[None], use_cache=False)
                .last_hidden_state[0]
                .mean(0)
                for each in samples
            ]
        )


def naive_layers(model: MeasuredModel, samples: list) -> torch.Tensor:
    total = torch.zeros(())
    with torch.no_grad():
        for sample in samples:
            ids = torch.cat([sample.prompt_ids, sample.response_ids])[None]
            start = len(sample.prompt_ids) - 1
            one, other = (
                model.network(input_ids=ids, use_cache=False, output_hidden_states=True)
                for _ in range(2)
            )
            head, norm = model.network.get_output_embeddings(), model.network.base_model.norm
            for a, b in zip(one.hidden_states, other.hidden_states, strict=True):
                left, right = a[0, start:-1], b[0, start:-1]
                total += (left - right).abs().mean()
                total += torch.cosine_similarity(left, right, dim=-1).mean()
                left, right = head(norm(left)), head(norm(right))
                total += (left - right).abs().mean()
                total += torch.cosine_similarity(left, right, dim=-1).mean()
    return total


def measure(work: Callable[[], object], rounds: int = 1) -> Cost:
    """Median CPU seconds of rounds, and memory at the peak beyond what there was."""
    found, peaks = [], []
    for _ in range(rounds):
        gc.collect()
        reset_peak()
        before = memory("VmRSS")
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
        peaks.append(memory("VmHWM") - before)
    return Cost(statistics.median(found), max(0.0, max(peaks)))


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> float:
    """GiB of a line of the process's state."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 2**20
    return 0.0


@dataclass
class Bench:
    """Ours and naive ways on the same model and samples."""

    model: MeasuredModel
    samples: list
    given: argparse.Namespace

    def run(self, name: str, ours: Cost, naive: Cost, found: str = "") -> None:
        ratio = naive.seconds / ours.seconds if ours.seconds else float("inf")
        print(
            f"{name:<34} ours {ours.seconds:8.2f} s {ours.gib:6.2f} GiB   naive "
            f"{naive.seconds:9.2f} s {naive.gib:6.2f} GiB   ratio {ratio:6.1f}  "
            f"{ours.note} {naive.note} {found}",
            flush=True,
        )

    def ours(self, work: Callable[[list], object]) -> Cost:
        """Our way on all samples, or on some of them where its time is linear in their number."""
        count = self.given.linear
        if not count or count >= len(self.samples):
            return measure(lambda: work(self.samples), self.given.rounds)
        cost = measure(lambda: work(self.samples[:count]), self.given.rounds)
        scale = len(self.samples) / count
        return Cost(cost.seconds * scale, cost.gib, f"[{count} samples, times {scale:g}]")

    def naive(
        self, work: Callable[[list], object], size: int, one: Callable[..., torch.Tensor] | None
    ) -> Cost:
        """A naive way; with --tried, estimated from so many passes and products of gradients.

        Args:
            size: numbers in what it keeps of each sample.
            one: makes that; None where the way is linear.
        """
        tried, n = self.given.tried, len(self.samples)
        if not tried or tried >= n:
            return measure(lambda: work(self.samples), self.given.rounds)
        if one is None:
            cost = measure(lambda: work(self.samples[:tried]))
            return Cost(cost.seconds * n / tried, cost.gib, "[naive estimated]")
        kept: list[torch.Tensor] = []
        passes = measure(lambda: kept.extend(one(s) for s in self.samples[:tried]))
        products = measure(lambda: [float(a @ b) for a in kept for b in kept])
        block = max(1, int(self.given.memory_gib * 2**30) // (2 * 4 * size))
        blocks = -(-n // block)
        again = 0 if 2 * block >= n else block * blocks * (blocks - 1) // 2
        of_products = products.seconds / tried**2 * n * (n + 1) / 2
        seconds = passes.seconds / tried * (n + again) + of_products
        gib = min(n, 2 * block) * size * 4 / 2**30
        note = f"[naive estimated: {n + again} passes"
        if again:
            kept_all = passes.seconds / tried * n + of_products
            note += f"; {kept_all:.2f} s with {n * size * 4 / 2**30:.1f} GiB for all gradients"
        return Cost(seconds, gib, note + "]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--model", type=Path, help="a model folder instead of random weights")
    parser.add_argument("--file", type=Path, help="its samples as JSONL")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=16, help="samples of the influence")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tried", type=int, default=0, help="estimate naive ways; 0 runs them")
    parser.add_argument("--linear", type=int, default=0, help="samples where ours is linear in n")
    parser.add_argument("--memory-gib", type=float, default=4.0)
    parser.add_argument("--only", default="", help="C1, C3, C4, C5, C6, separated by commas")
    given = parser.parse_args()
    if given.model is None:
        model = make_model(given.size)
        samples = make_samples(model, SIZES[given.size], given.samples)
    else:
        model = load_measured(given.model, "float32")
        samples = list(model.read_samples(given.file).samples)[: given.samples]
    compare(Bench(model, samples, given))


def compare(bench: Bench) -> None:
    model, samples, given = bench.model, bench.samples, bench.given
    settings = GramSettings(memory=int(given.memory_gib * 2**30))
    size = sum(each.numel() for each in model.network.parameters())
    prompt, response = (
        statistics.mean(len(getattr(each, name)) for each in samples)
        for name in ("prompt_ids", "response_ids")
    )
    print(
        f"{model.name}: {size:,} parameters, {len(samples)} samples of {prompt:.0f} + "
        f"{response:.0f} tokens on average"
    )
    print("CPU seconds, median of rounds; GiB at the peak")
    chosen = given.only.split(",") if given.only else ["C1", "C3", "C4", "C5", "C6"]
    if "C1" in chosen:
        ours = bench.ours(lambda some: gradient_products(model, some, settings))
        one = partial(one_gradient, model)
        bench.run(
            "C1 all pairs, a product a pair",
            ours,
            bench.naive(lambda some: naive_gram(model, some), size, one),
        )
        if not given.tried:
            at_once = measure(lambda: one_product_gram(model, samples), given.rounds)
            bench.run("C1 all pairs, one matrix product", ours, at_once)
        means = bench.naive(lambda some: naive_means(model, some), size, None)
        bench.run("C1 means alone", ours, means)
    if "C4" in chosen:
        weight = model.network.get_output_embeddings().weight
        gap = bench.ours(lambda some: measure_gaps(model, some))
        one = partial(readout_gradient, model)
        naive = bench.naive(lambda some: naive_gap(model, some), weight.numel(), one)
        few = samples[: given.tried] or samples[:: max(1, len(samples) // 40)]
        domain = few[0].domain or "all"
        few = [each for each in few if (each.domain or "all") == domain]
        values = measure_gaps(model, few).raw[domain].value, naive_gap(model, few)
        bench.run("C4 gap, a gradient a sample", gap, naive, "gaps {:.4g} {:.4g}".format(*values))
        if not given.tried:
            tokens = measure(lambda: token_gap(model, samples), given.rounds)
            bench.run("C4 gap, tokens of pairs", gap, tokens)
            pairs = measure(lambda: coupling_matrix(model, samples), given.rounds)
            bench.run("C4 all pairs, tokens of pairs", pairs, tokens)
    if "C3" in chosen and given.pairs:
        few = samples[: given.pairs]
        fixed = InfluenceSettings(eta=1e-6, gram=GramSettings(method="exact"))
        ours = measure(lambda: measure_influence(model, few, fixed))
        naive = measure(lambda: naive_influence(model, few, 1e-6))
        bench.run(f"C3 influence of {len(few)}", ours, naive)
    if "C5" in chosen:
        ours = bench.ours(lambda some: embed_prompts(model, some))
        naive = bench.naive(lambda some: naive_similarity(model, some), 0, None)
        bench.run("C5 similarity", ours, naive)
    if "C6" in chosen:
        ours = bench.ours(lambda some: compare_layers(model, model, some))
        naive = bench.naive(lambda some: naive_layers(model, some), 0, None)
        bench.run("C6 layers", ours, naive)


if __name__ == "__main__":
    main()

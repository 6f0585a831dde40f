"""Cosines between mean gradients of populations, and what has to stand beside each of them.

The cosine of two means grows with the number of samples even where single pairs do not couple, so
that it says little alone. Beside it stand the cosine without noise, from pairs of different samples
only; where it lies when labels are shuffled; how well a mean repeats itself on the other half of
its episodes; and an interval over resampled episodes. All of it follows from the inner products of
the gradients of all pairs of samples.

Letters are as in GC Table 1: the first is the class of the in-domain population, the second that
of the out-of-domain one; p is positive, n is negative.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeVar

import torch
from torch import Tensor

from declutch.coupling.samples import LabelledSample, name_lines
from declutch.ground.errors import UserError
from declutch.ground.streams import stream

POPULATIONS = ("in_pos", "in_neg", "out_pos", "out_neg")
PAIRS: Mapping[str, tuple[str, str]] = {
    "pp": ("in_pos", "out_pos"),
    "pn": ("in_pos", "out_neg"),
    "np": ("in_neg", "out_pos"),
    "nn": ("in_neg", "out_neg"),
}
Number = TypeVar("Number", float, Tensor)
Reduce = Literal["tokens", "samples", "unit"]
"""What a population's gradient is the mean of: its tokens, its samples' means, or these at unit
norm."""
LOW_RELIABILITY = 0.5
"""Below this split-half reliability a mean gradient is mostly noise."""
DRAWS = 2000
"""How many permutations, splits or resamplings are drawn."""


@dataclass(frozen=True)
class Populations:
    """The four populations whose cosines are taken, n samples each.

    Attributes:
        indices: i64[n] of each population, in the order of the file.
        blocks: for each of all samples the number of its episode.
        warnings: what was left out, by line.
    """

    indices: Mapping[str, Tensor]
    blocks: Tensor
    warnings: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """How many samples each population has."""
        return len(self.indices["in_pos"])

    @property
    def used(self) -> list[int]:
        """All samples of the populations, as indices in the order of the file."""
        return sorted(int(each) for chosen in self.indices.values() for each in chosen)

    def num_blocks(self, name: str) -> int:
        """How many episodes a population's samples come from."""
        return len(self.blocks[self.indices[name]].unique())


@dataclass(frozen=True)
class NullRange:
    """Where a cosine lies when labels are shuffled.

    Attributes:
        mean: of the shuffled values.
        low, high: their 2.5% and 97.5% quantiles.
        p_value: share of shufflings as far out as the true labels, two-sided; for "contrast"
            one-sided, the share at least as high.
    """

    mean: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Cosines:
    """The cosines between mean gradients of four populations, and what stands beside them.

    Attributes:
        cosine: by pair of letters.
        corrected: the same without noise; NaN where noise is all there is.
        null: by pair, and of "contrast": half of pp + nn - pn - np.
        split_half: by population, and by pair the geometric mean of its two; NaN where a population
            has a single episode.
        interval: 95% over resampled episodes, by pair; NaN where a population has a single one.
        flags: sentences that say which numbers are noise.
    """

    cosine: Mapping[str, float]
    corrected: Mapping[str, float]
    null: Mapping[str, NullRange]
    split_half: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Chance:
    """How much is drawn at random, and from which seed."""

    seed: int
    draws: int

    def stream(self, use: str) -> torch.Generator:
        return stream(self.seed, f"coupling-{use}")


def choose_populations(samples: Sequence[LabelledSample], seed: int = 0) -> Populations:
    """Choose the four populations whose cosines are taken: equally many samples of each.

    Where a class has more samples than another, which of them are used is drawn at random.

    Raises:
        UserError: a population has fewer than two samples.
    """
    found: dict[str, list[int]] = {name: [] for name in POPULATIONS}
    unlabelled, homeless = [], []
    for index, sample in enumerate(samples):
        if sample.label is None:
            unlabelled.append(sample.line)
        elif not sample.domain:
            homeless.append(sample.line)
        else:
            found[f"{sample.domain}_{'pos' if sample.label else 'neg'}"].append(index)
    warnings = []
    if unlabelled:
        warnings.append(f"{name_lines(unlabelled)}: left out of the populations, no label")
    if homeless:
        warnings.append(f"{name_lines(homeless)}: left out of the populations, no domain")
    n = min(map(len, found.values()))
    if n < 2:
        counts = ", ".join(f"{name} {len(found[name])}" for name in POPULATIONS)
        raise UserError(
            "cosines of mean gradients need at least 2 samples of each class (label 1 and 0) in "
            f"each domain (in and out), but there are {counts}"
            + (f"; {'; '.join(warnings)}" if warnings else "")
        )
    left_out = sum(map(len, found.values())) - 4 * n
    if left_out:
        warnings.append(
            f"{left_out} samples of the larger populations are not used, drawn at random: all four "
            f"have to have the same n, here {n}"
        )
    draw = stream(seed, "coupling-populations")
    indices = {}
    for name, chosen in found.items():
        order = torch.randperm(len(chosen), generator=draw)[:n].sort().values
        indices[name] = torch.tensor(chosen)[order]
    numbers: dict[str, int] = {}
    blocks = [numbers.setdefault(f"{s.domain}/{s.episode}", len(numbers)) for s in samples]
    return Populations(indices, torch.tensor(blocks), tuple(warnings))


def weigh(
    gram: Tensor,
    samples: Sequence[LabelledSample],
    reduce: Reduce = "tokens",
    by_advantage: bool = False,
) -> Tensor:
    """Weigh the gradients whose cosines are taken, given their inner products.

    Args:
        gram: [n, n] of gradients summed over the tokens of a response.
        reduce: sums of "tokens" have the direction of their mean over all tokens.
        by_advantage: multiply each gradient by its sample's advantage.
    Returns:
        f64[n, n].
    Raises:
        UserError: an advantage that is missing.
    """
    gram = gram.detach().double().cpu()
    weight = torch.ones(len(samples), dtype=torch.float64)
    if reduce == "samples":
        weight /= torch.tensor([s.num_response_tokens for s in samples], dtype=torch.float64)
    elif reduce == "unit":
        weight /= gram.diag().clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    if by_advantage:
        check_advantages(samples)
        weight *= torch.tensor([sample.advantage for sample in samples], dtype=torch.float64)
    return weight[:, None] * gram * weight


def check_advantages(samples: Sequence[LabelledSample]) -> None:
    """Check that gradients can be weighed by advantages before cosines are taken of them.

    Raises:
        UserError: lines without one.
    """
    missing = [sample.line for sample in samples if sample.advantage is None]
    if missing:
        raise UserError(f"{name_lines(missing)}: no advantage to weigh the gradient by")


def measure_cosines(
    gram: Tensor, populations: Populations, seed: int = 0, draws: int = DRAWS
) -> Cosines:
    """From gradient sums to the cosines of the four pairs, corrected, with null and interval.

    Args:
        gram: f64[N, N], inner products of all samples' gradients, weighed.
        seed: of permutations, splits and resamplings.
        draws: how many of each are drawn; where there are fewer splits, all of them are taken.
    Source: GC Table 1 and Figure 4 print the cosines alone.
    """
    weights = _indicators(populations, len(gram))
    chance = _Chance(seed, draws)
    cosine = {pair: float(_cosine(gram, weights[a], weights[b])) for pair, (a, b) in PAIRS.items()}
    corrected = {pair: _corrected(gram, weights[a], weights[b]) for pair, (a, b) in PAIRS.items()}
    split = {
        name: _split_half(gram, populations.indices[name], populations.blocks, chance)
        for name in POPULATIONS
    }
    for pair, (a, b) in PAIRS.items():
        split[pair] = math.sqrt(max(split[a], 0.0) * max(split[b], 0.0))
        if math.isnan(split[a]) or math.isnan(split[b]):
            split[pair] = math.nan
    return Cosines(
        cosine=cosine,
        corrected=corrected,
        null=_null(gram, populations, cosine, chance),
        split_half=split,
        interval=_intervals(gram, populations, cosine, chance),
        flags=tuple(_flags(corrected, split)),
    )


def contrast(cosine: Mapping[str, Number]) -> Number:
    """How much more alike mean gradients of one class are than of two: a contrast of cosines."""
    return (cosine["pp"] + cosine["nn"] - cosine["pn"] - cosine["np"]) / 2


def _indicators(populations: Populations, size: int) -> dict[str, Tensor]:
    out = {}
    for name, indices in populations.indices.items():
        out[name] = torch.zeros(size, dtype=torch.float64)
        out[name][indices] = 1.0
    return out


def _product(gram: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return (left @ gram * right).sum(-1)


def _cosine(gram: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Cosines [...] of sums with weights [..., N]."""
    norms = _product(gram, left, left) * _product(gram, right, right)
    return _product(gram, left, right) / norms.clamp(min=0).sqrt()


def _corrected(gram: Tensor, left: Tensor, right: Tensor) -> float:
    """The cosine of the means that many more samples would have, from distinct pairs only.

    The populations share no sample, so that their inner product has no noise on average.
    """

    def square(weight: Tensor) -> float:
        n = float(weight.sum())
        distinct = _product(gram, weight, weight) - (weight * gram.diag()).sum()
        return float(distinct) / (n * (n - 1))

    norms = square(left), square(right)
    if min(norms) <= 0:
        return math.nan
    mean = float(_product(gram, left, right) / (left.sum() * right.sum()))
    return mean / math.sqrt(norms[0] * norms[1])


def _split_half(gram: Tensor, indices: Tensor, blocks: Tensor, chance: _Chance) -> float:
    """Mean cosine of two halves' means, brought to the full length by Spearman and Brown."""
    own, place = blocks[indices].unique(return_inverse=True)
    count = len(own)
    if count < 2:
        return math.nan
    half = count // 2
    if math.comb(count, half) <= chance.draws:
        chosen = torch.tensor(list(combinations(range(count), half)))
    else:
        draw = chance.stream("split-half")
        chosen = torch.rand(chance.draws, count, generator=draw).argsort(1)[:, :half]
    is_first = torch.zeros(len(chosen), count, dtype=torch.float64).scatter_(1, chosen, 1.0)
    first = is_first[:, place]
    part = gram[indices[:, None], indices]
    halves = float(_cosine(part, first, 1 - first).mean())
    return 2 * halves / (1 + halves)


def _null(
    gram: Tensor, populations: Populations, cosine: Mapping[str, float], chance: _Chance
) -> dict[str, NullRange]:
    """Shuffle labels within each domain: those of episodes where an episode has but one."""
    draw = chance.stream("null")
    weights: dict[str, Tensor] = {}
    for domain in ("in", "out"):
        positive, negative = (populations.indices[f"{domain}_{c}"] for c in ("pos", "neg"))
        shuffled = _shuffle(positive, negative, populations.blocks, draw, chance.draws)
        weights[f"{domain}_pos"] = torch.zeros(chance.draws, len(gram), dtype=torch.float64)
        weights[f"{domain}_neg"] = torch.zeros(chance.draws, len(gram), dtype=torch.float64)
        own = torch.cat([positive, negative])
        weights[f"{domain}_pos"][:, own] = shuffled
        weights[f"{domain}_neg"][:, own] = 1 - shuffled
    drawn = {pair: _cosine(gram, weights[a], weights[b]) for pair, (a, b) in PAIRS.items()}
    found = {pair: _range(drawn[pair], value) for pair, value in cosine.items()}
    found["contrast"] = _range(contrast(drawn), contrast(cosine), is_two_sided=False)
    return found


def _shuffle(
    positive: Tensor, negative: Tensor, blocks: Tensor, draw: torch.Generator, draws: int
) -> Tensor:
    """f64[draws, n], 1 where a sample of positive, then negative is positive after shuffling."""
    label = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).double()
    block = torch.cat([blocks[positive], blocks[negative]])
    own, place = block.unique(return_inverse=True)
    means = torch.zeros(len(own), dtype=torch.float64).index_add_(0, place, label)
    means /= torch.zeros(len(own), dtype=torch.float64).index_add_(0, place, label * 0 + 1)
    is_pure = bool(((means == 0) | (means == 1)).all())
    if is_pure:
        order = torch.rand(draws, len(own), generator=draw).argsort(1)
        return means[order][:, place]
    return label[torch.rand(draws, len(label), generator=draw).argsort(1)]


def _range(drawn: Tensor, observed: float, is_two_sided: bool = True) -> NullRange:
    tolerance = 1e-12 * max(1.0, abs(observed))
    above = (1 + int((drawn >= observed - tolerance).sum())) / (1 + len(drawn))
    below = (1 + int((drawn <= observed + tolerance).sum())) / (1 + len(drawn))
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    p_value = min(1.0, 2 * min(above, below)) if is_two_sided else above
    return NullRange(float(drawn.mean()), low, high, p_value)


def _intervals(
    gram: Tensor, populations: Populations, cosine: Mapping[str, float], chance: _Chance
) -> dict[str, tuple[float, float]]:
    """Resample whole episodes of each population; the spread is laid around the value found.

    A resampled mean repeats samples, and is noisier than the true one: its cosines lie lower on
    average. So what is taken of them is their spread.
    """
    draw = chance.stream("bootstrap")
    weights = {}
    for name, indices in populations.indices.items():
        own, place = populations.blocks[indices].unique(return_inverse=True)
        if len(own) < 2:
            return dict.fromkeys(PAIRS, (math.nan, math.nan))
        picked = torch.randint(0, len(own), (chance.draws, len(own)), generator=draw)
        times = torch.zeros(chance.draws, len(own), dtype=torch.float64)
        times.scatter_add_(1, picked, torch.ones_like(picked, dtype=torch.float64))
        weights[name] = torch.zeros(chance.draws, len(gram), dtype=torch.float64)
        weights[name][:, indices] = times[:, place]
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    found = {}
    for pair, (a, b) in PAIRS.items():
        drawn = _cosine(gram, weights[a], weights[b])
        low, high = (torch.quantile(drawn, ends) - drawn.mean() + cosine[pair]).tolist()
        found[pair] = (max(low, -1.0), min(high, 1.0))
    return found


def _flags(corrected: Mapping[str, float], split: Mapping[str, float]) -> Iterator[str]:
    for name in POPULATIONS:
        if split[name] < LOW_RELIABILITY:
            yield (
                f"{name}: the mean gradient is mostly noise, its split-half reliability is "
                f"{split[name]:.2f}"
            )
    for pair in PAIRS:
        if math.isnan(corrected[pair]):
            yield f"{pair}: without noise nothing is left of a mean gradient: no corrected cosine"
        elif corrected[pair] > 1:
            yield f"{pair}: the corrected cosine {corrected[pair]:.2f} is above 1, which is noise"

"""Token coupling: how much the tokens of two responses push each other through the read-out.

For samples i and j it is the sum over their tokens k and k' of alpha_kk' <h_k, h_k'>, with alpha
the inner product over the vocabulary of what the two tokens' predictions were off by. That is the
inner product of the two samples' gradients of the read-out matrix: all of it where that matrix is
not the input embedding, too; with tied embeddings the read-out's part alone.

Source: GC eq. 2 and Figure 7; RM eq. 2 and Figures 8 and 9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from declutch.coupling.measured import MeasuredModel
from declutch.coupling.readout import Readout, readouts
from declutch.coupling.samples import LabelledSample, name_lines


@dataclass(frozen=True)
class Gap:
    """How much stronger token coupling is within a class than across: a domain's class gap.

    Attributes:
        pp, nn: mean over pairs of different samples that are both positive, both negative; of the
            mean over both token axes.
        pn: mean over pairs of a positive and a negative sample.
        num_pos, num_neg: samples.
    """

    pp: float
    nn: float
    pn: float
    num_pos: int
    num_neg: int

    @property
    def value(self) -> float:
        """Half of what is within classes, less what is across; NaN below two samples a class."""
        return (self.pp + self.nn) / 2 - self.pn


@dataclass(frozen=True)
class Gaps:
    """The class gaps of token coupling, by domain.

    Attributes:
        raw: as RM Figure 8; it grows with the square of the hidden states' norm.
        normalised: of the coupling divided by sqrt(C_ii C_jj); checkpoints can be compared by it.
    """

    raw: Mapping[str, Gap]
    normalised: Mapping[str, Gap]


@dataclass(frozen=True)
class PairScores:
    """The token coupling of one pair of samples, shared out to their tokens.

    Attributes:
        total: the pair's coupling.
        left, right: f64[T], f64[T'], each of them adds up to the total.
    """

    total: float
    left: Tensor
    right: Tensor


def coupling_matrix(
    model: MeasuredModel,
    samples: Sequence[LabelledSample],
    temperature: float = 1.0,
    memory: int = 2 * 2**30,
) -> Tensor:
    """Token coupling of all pairs of n samples, f64[n, n] in their order.

    Args:
        memory: bytes that gradients of the read-out, or errors of tokens, may take.
    """
    size = model.network.get_output_embeddings().weight.numel() * model.dtype.itemsize
    if size * len(samples) <= memory:
        return _by_gradients(model, samples, temperature)
    return _by_tokens(model, samples, temperature, memory)


def _by_gradients(
    model: MeasuredModel, samples: Sequence[LabelledSample], temperature: float
) -> Tensor:
    """From whole gradients of the read-out: cheap for a small vocabulary."""
    weight = model.network.get_output_embeddings().weight
    kept = torch.zeros(len(samples), weight.numel(), dtype=model.dtype, device=model.device)
    for part in readouts(model, samples, temperature):
        hidden, error = part.padded
        kept[part.rows] = torch.bmm(error.transpose(1, 2), hidden).flatten(1)
    return (kept @ kept.T).double().cpu()


def _by_tokens(
    model: MeasuredModel, samples: Sequence[LabelledSample], temperature: float, memory: int
) -> Tensor:
    """From products of tokens, so many samples at a time as their errors fit into memory."""
    width = model.network.get_output_embeddings().weight.shape[0] * model.dtype.itemsize
    blocks: list[list[int]] = [[]]
    room = memory // 2
    for index, sample in enumerate(samples):
        cost = width * sample.num_response_tokens
        if blocks[-1] and cost > room:
            blocks.append([])
            room = memory // 2
        blocks[-1].append(index)
        room -= cost
    out = torch.zeros(len(samples), len(samples), dtype=torch.float64)
    for place, rows in enumerate(blocks):
        left = _flat(model, [samples[row] for row in rows], temperature)
        for second in range(place + 1):
            columns = blocks[second]
            right = left
            if second != place:
                right = _flat(model, [samples[column] for column in columns], temperature)
            product = (left[1] @ right[1].T) * (left[0] @ right[0].T)
            sums = torch.zeros(len(rows), product.shape[1], dtype=product.dtype)
            sums.index_add_(0, left[2], product.cpu())
            found = torch.zeros(len(rows), len(columns), dtype=product.dtype)
            found.index_add_(1, right[2], sums)
            cells = torch.tensor(rows)[:, None], torch.tensor(columns)
            out[cells] = found.double()
            out.T[cells] = found.double()
    return out


def _flat(
    model: MeasuredModel, samples: Sequence[LabelledSample], temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states [N, D], errors [N, V] and owners i64[N] of all tokens, in any order."""
    parts = list(readouts(model, samples, temperature))
    return (
        torch.cat([part.hidden for part in parts]),
        torch.cat([part.error for part in parts]),
        torch.cat([part.spread(part.rows) for part in parts]).cpu(),
    )


def measure_gaps(
    model: MeasuredModel, samples: Sequence[LabelledSample], temperature: float = 1.0
) -> Gaps:
    """Measure the class gaps of token coupling in time linear in the number of samples.

    A class's mean over pairs follows from the sum of its samples' read-out gradients, less what
    each has with itself.

    Args:
        samples: those without a label are left out; at least two of each class and domain are
            needed for its gap, which is NaN otherwise.
    Source: RM Figure 8.
    """
    raw, scaled = {}, {}
    for domain in sorted({sample.domain or "all" for sample in samples}):
        chosen = [sample for sample in samples if (sample.domain or "all") == domain]
        raw[domain], scaled[domain] = _gaps_of_domain(model, chosen, temperature)
    return Gaps(raw, scaled)


def left_out_of_gaps(samples: Sequence[LabelledSample]) -> list[str]:
    """Say which lines the class gaps of token coupling leave out, or have in a domain apart."""
    unlabelled = [sample.line for sample in samples if sample.label is None]
    homeless = [sample.line for sample in samples if not sample.domain]
    found = []
    if unlabelled:
        found.append(f"{name_lines(unlabelled)}: left out of the class gaps, no label")
    if homeless and len(homeless) < len(samples):
        found.append(f"{name_lines(homeless)}: no domain, so that they have a gap apart, 'all'")
    return found


def _gaps_of_domain(
    model: MeasuredModel, samples: Sequence[LabelledSample], temperature: float
) -> tuple[Gap, Gap]:
    """The raw gap and the normalised one."""
    chosen = [sample for sample in samples if sample.label is not None]
    negative, positive = _class_sums(model, chosen, temperature)
    width = positive.total.shape[1] // 2
    gaps = []
    for place in range(2):
        pos, neg = (
            each.total[:, place * width : (place + 1) * width] for each in (positive, negative)
        )
        own = [each.squares if place == 0 else float(each.count) for each in (positive, negative)]
        p, n = positive.count, negative.count
        gaps.append(
            Gap(
                pp=_pair_mean(_square(pos, pos) - own[0], p * (p - 1)),
                nn=_pair_mean(_square(neg, neg) - own[1], n * (n - 1)),
                pn=_pair_mean(_square(pos, neg), p * n),
                num_pos=p,
                num_neg=n,
            )
        )
    return gaps[0], gaps[1]


def _square(left: Tensor, right: Tensor) -> float:
    # Sums of millions of products are added up in float64.
    return float((left * right).sum(dtype=torch.float64))


def _pair_mean(total: float, pairs: int) -> float:
    return total / pairs if pairs else math.nan


@dataclass
class _ClassSums:
    """Sums over the samples of one class.

    Attributes:
        total: [V, 2 D], of read-out gradients per token, and of those at unit norm.
        squares: of the norms of the first ones.
        count: samples.
    """

    total: Tensor
    squares: float = 0.0
    count: int = 0


def _class_sums(
    model: MeasuredModel, samples: Sequence[LabelledSample], temperature: float
) -> tuple[_ClassSums, _ClassSums]:
    """The sums of the bad and of the good samples, by one pass over all of them."""
    vocabulary, width = model.network.get_output_embeddings().weight.shape
    shape, like = (vocabulary, 2 * width), model.network.get_output_embeddings().weight
    found = _ClassSums(like.new_zeros(shape)), _ClassSums(like.new_zeros(shape))
    if not samples:
        return found
    labels = torch.tensor([sample.label for sample in samples])
    for part in readouts(model, samples, temperature):
        length = torch.tensor(part.sizes, device=model.device).to(model.dtype)
        own = _own_products(part)
        scales = (1 / length, own.clamp(min=torch.finfo(own.dtype).tiny).rsqrt())
        for label, sums in enumerate(found):
            is_own = labels[part.rows] == label
            place = part.spread(is_own)
            hidden = part.hidden[place]
            scaled = [hidden * part.spread(scale)[place, None] for scale in scales]
            sums.total.addmm_(part.error[place].T, torch.cat(scaled, dim=1))
            sums.squares += float((own / length**2)[is_own].double().sum())
            sums.count += int(is_own.sum())
    return found


def _own_products(part: Readout) -> Tensor:
    """[B], the token coupling of each sample with itself."""
    hidden, error = part.padded
    errors = torch.bmm(error, error.transpose(1, 2))
    return (errors * torch.bmm(hidden, hidden.transpose(1, 2))).sum((1, 2))


def share_out(
    model: MeasuredModel,
    left: LabelledSample,
    right: LabelledSample,
    temperature: float = 1.0,
) -> PairScores:
    """Share the token coupling of a pair of samples out to their tokens: row and column sums.

    Source: GC Figure 7; RM Figure 9.
    """
    (one,) = readouts(model, [left], temperature)
    (other,) = readouts(model, [right], temperature)
    product = (one.error @ other.error.T) * (one.hidden @ other.hidden.T)
    product = product.double().cpu()
    return PairScores(float(product.sum()), product.sum(1), product.sum(0))

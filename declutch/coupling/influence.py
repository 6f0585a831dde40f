"""Influence: what a step of learning on one sample does to the log-probability of another.

Row i is the sample that the step is taken on, column j the one that is measured, and a cell is the
change of log pi_j divided by the step's size eta. The exact change is that of weights that were
really moved; the first order is an inner product of gradients. Eta is halved until the two agree.

Source: GC Figure 3 and RM Figure 3b.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from declutch.coupling.gram import GramSettings, Report, gradient_products
from declutch.coupling.measured import MeasuredModel, micro_batches, response_logprobs
from declutch.coupling.per_sample import plain_gradients, trained_parameters
from declutch.coupling.samples import LabelledSample
from declutch.ground.errors import UserError

AGREEMENT = 0.01
"""How far, as a share of a row's largest entry, exact change and first order may differ."""
MAX_HALVINGS = 40
ADAM_EPS = 1e-8


@dataclass(frozen=True)
class InfluenceSettings:
    """How influence is measured.

    Attributes:
        is_per_token: steps and changes are of a sample's mean log-probability of a token.
        step: "sgd", or "adamw" for the first step of AdamW, whose size hardly depends on the
            gradient's.
        gram: how inner products are computed; its temperature is that of the log-probabilities.
        eta: a fixed size of step; None halves it until both ways agree.
    """

    is_per_token: bool = False
    step: str = "sgd"
    gram: GramSettings = field(default_factory=lambda: GramSettings(method="exact"))
    eta: float | None = None

    def __post_init__(self) -> None:
        if self.step not in ("sgd", "adamw"):
            raise UserError(f"--step {self.step!r} is unknown; take sgd or adamw")
        if self.eta is not None and not self.eta > 0:
            raise UserError(f"--eta {self.eta} is not above 0")


@dataclass(frozen=True)
class Trial:
    """The influence that one size of step shows: how far its two ways agree.

    Attributes:
        eta: the step's size.
        change: root mean square of the exact changes of log-probability.
        error: root mean square of exact change less first order.
    """

    eta: float
    change: float
    error: float


@dataclass(frozen=True)
class Influence:
    """The influence of n samples on each other.

    Attributes:
        first_order, exact: f64[n, n], change of log-probability / eta.
        eta: the step's size.
        disagreement: largest difference of the two, as a share of its row's largest entry.
        trials: sizes that were tried on one row, largest first.
        logprobs: f64[n] before any step.
    """

    first_order: Tensor
    exact: Tensor
    eta: float
    disagreement: float
    trials: tuple[Trial, ...]
    logprobs: Tensor

    @property
    def agrees(self) -> bool:
        """Whether exact change and first order differ by at most 1%."""
        return self.disagreement <= AGREEMENT


def measure_influence(
    model: MeasuredModel,
    samples: Sequence[LabelledSample],
    settings: InfluenceSettings | None = None,
    report: Report | None = None,
) -> Influence:
    """Measure the influence of a step on each sample on the log-probability of every sample.

    Args:
        samples: n, each stepped on and each measured.
        report: is told (done, total) steps.
    Source: GC Figure 3; RM Figure 3b.
    """
    settings = settings or InfluenceSettings()
    stepper = _Stepper(model, samples, settings)
    first = stepper.first_order()
    size = first.abs().amax(1)
    probed = int(size.argmax())
    if settings.eta is None:
        eta, trials = _choose_eta(stepper, first, probed)
    else:
        eta = settings.eta
        trials = [_trial(stepper, first, probed, eta)]
    while True:
        exact = torch.stack(
            [_report(stepper.change(i, eta), i, len(samples), report) for i in range(len(samples))]
        )
        exact /= eta
        spread = (exact - first).abs().amax(1) / size.clamp(min=torch.finfo(torch.float64).tiny)
        disagreement = float(spread.max())
        is_last = settings.eta is not None or len(trials) > MAX_HALVINGS
        if disagreement <= AGREEMENT or is_last or stepper.is_too_fine(eta, size):
            return Influence(first, exact, eta, disagreement, tuple(trials), stepper.before)
        # The error of the first order is proportional to eta.
        for _ in range(max(1, math.ceil(math.log2(disagreement / AGREEMENT)))):
            eta /= 2
        trials.append(_trial(stepper, first, probed, eta))


def _report(change: Tensor, index: int, total: int, report: Report | None) -> Tensor:
    if report is not None:
        report(index + 1, total)
    return change


def _choose_eta(stepper: _Stepper, first: Tensor, probed: int) -> tuple[float, list[Trial]]:
    """Halve eta, from a change of half a nat, until the row of the largest entry agrees."""
    largest = float(first[probed].abs().max())
    if largest == 0:
        return 1.0, []
    eta = 0.5 / largest
    trials: list[Trial] = []
    while len(trials) <= MAX_HALVINGS:
        trial = _trial(stepper, first, probed, eta)
        trials.append(trial)
        if trial.error <= AGREEMENT / 2 * trial.change:
            break
        eta /= 2
    return eta, trials


def _trial(stepper: _Stepper, first: Tensor, row: int, eta: float) -> Trial:
    change = stepper.change(row, eta)
    error = change - eta * first[row]
    return Trial(eta, float(change.square().mean().sqrt()), float(error.square().mean().sqrt()))


class _Stepper:
    """Steps on single samples, each from the same weights."""

    def __init__(
        self,
        model: MeasuredModel,
        samples: Sequence[LabelledSample],
        settings: InfluenceSettings,
    ) -> None:
        self.model, self.samples, self.settings = model, samples, settings
        self.temperature = settings.gram.temperature
        self.lengths = torch.tensor(
            [s.num_response_tokens if settings.is_per_token else 1 for s in samples],
            dtype=torch.float64,
        )
        self.before = self._logprobs()
        self.kept: tuple[int, dict[str, Tensor]] | None = None

    def first_order(self) -> Tensor:
        if self.settings.step == "sgd":
            gram = gradient_products(self.model, self.samples, self.settings.gram)
            return gram.scope("all").double().cpu() / self.lengths[:, None] / self.lengths
        size = sum(each.numel() for each in trained_parameters(self.model.network).values())
        needed = size * len(self.samples) * self.model.dtype.itemsize
        if needed > self.settings.gram.memory:
            raise UserError(
                f"--step adamw keeps the whole gradients of {len(self.samples)} samples, which "
                f"take {needed / 2**30:.1f} GiB; give fewer samples, or more with --memory-gib"
            )
        gradients = torch.stack(
            [_flat(self._gradient(index)) for index in range(len(self.samples))]
        )
        steps = gradients / (gradients.abs() + ADAM_EPS)
        return (steps @ gradients.T).double().cpu()

    def change(self, index: int, eta: float) -> Tensor:
        """Changes f64[n] of all log-probabilities by a step of size eta on one sample."""
        direction = self._direction(index)
        named = trained_parameters(self.model.network)
        before = {name: each.detach().clone() for name, each in named.items()}
        try:
            with torch.no_grad():
                for name, each in named.items():
                    each.add_(direction[name], alpha=eta)
            return self._logprobs() - self.before
        finally:
            with torch.no_grad():
                for name, each in named.items():
                    each.copy_(before[name])

    def is_too_fine(self, eta: float, size: Tensor) -> bool:
        """Whether the changes of a step this small drown in rounding."""
        noise = torch.finfo(self.model.dtype).eps * float(self.before.abs().max())
        return noise > AGREEMENT / 4 * eta * float(size.max())

    def _direction(self, index: int) -> dict[str, Tensor]:
        if self.kept is None or self.kept[0] != index:
            found = self._gradient(index)
            if self.settings.step == "adamw":
                found = {name: g / (g.abs() + ADAM_EPS) for name, g in found.items()}
            self.kept = (index, found)
        return self.kept[1]

    def _gradient(self, index: int) -> dict[str, Tensor]:
        (micro,) = micro_batches([self.samples[index]], self.model.device)
        found = plain_gradients(self.model.network, micro, self.temperature)
        return {name: each / float(self.lengths[index]) for name, each in found.items()}

    def _logprobs(self) -> Tensor:
        out = torch.zeros(len(self.samples), dtype=torch.float64)
        with torch.no_grad():
            for micro in micro_batches(self.samples, self.model.device):
                found: Any = response_logprobs(self.model.network, micro, self.temperature)
                out[micro.rows.cpu()] = found.double().sum(1).cpu()
        return out / self.lengths


def _flat(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in gradient.values()])

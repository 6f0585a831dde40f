"""Gradient cosines of a run over its training: measured at some iterations, kept, and read back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from declutch.config.run import Config
from declutch.coupling.cosines import PAIRS, contrast
from declutch.coupling.figure_data import FigureData, Series
from declutch.coupling.gradients import (
    GradientResult,
    GradientSettings,
    gradient_data,
    measure_gradients,
)
from declutch.coupling.gram import GramSettings
from declutch.coupling.measured import MeasuredModel
from declutch.coupling.output import write_json
from declutch.coupling.play import play_samples, write_samples
from declutch.coupling.samples import LabelledSample
from declutch.envs.protocol import Suite
from declutch.ground.errors import UserError
from declutch.models.mode import evaluation_mode
from declutch.rollout.collect import CollectParams
from declutch.rollout.policy import Policy
from declutch.runs.catalogue import metrics
from declutch.runs.coupling import CouplingRecord
from declutch.runs.folder import RunFolder


@dataclass(frozen=True)
class CouplingDiagnosis:
    """Measures a run's gradient cosines over training, every `coupling.every` iterations.

    Attributes:
        note: is told why a measurement could not be made; training goes on.
    """

    config: Config
    run: RunFolder
    suite: Suite
    note: Callable[[str], None]

    def is_due(self, iteration: int) -> bool:
        """Whether the policy is to be measured after so many iterations."""
        every = self.config.coupling.every
        is_last = iteration == self.config.train.iterations
        return every > 0 and (iteration % every == 0 or is_last)

    def measure(self, iteration: int, policy: Policy) -> dict[str, float]:
        """Have the policy play, measure its cosines, and write them to the run folder; metrics."""
        try:
            result = measure_policy(policy, self.suite, self.config, f"iteration {iteration}")
        except UserError as error:
            self.note(f"no coupling at iteration {iteration}: {error}")
            return {}
        path = self.run.coupling_path(iteration)
        write_json(path, {"iteration": iteration, **gradient_data(result)})
        found = result.chosen
        values = {
            **{f"cosine/{pair}": value for pair, value in found.cosine.items()},
            "contrast": contrast(found.cosine),
            "split_half": min(found.split_half[pair] for pair in PAIRS),
        }
        numbers = {name: value for name, value in values.items() if not math.isnan(value)}
        return metrics("coupling", numbers)


def measure_policy(
    policy: Policy,
    suite: Suite,
    config: Config,
    name: str,
    settings: GradientSettings | None = None,
    keep: Path | None = None,
) -> GradientResult:
    """Measure coupling over training: the gradient cosines of a run's policy at one iteration.

    Args:
        name: how tables call it.
        settings: how cosines are measured; None takes what `config.coupling` says.
        keep: a JSONL file that the steps are written to, for other commands; None writes none.
    Raises:
        UserError: fewer than two samples of a population, no games, or too few labels.
    """
    samples = play_for_samples(policy, suite, config)
    if keep is not None:
        write_samples(keep, samples)
    chosen = settings or GradientSettings(
        reduce=config.coupling.reduce, seed=config.seed, gram=GramSettings(seed=config.seed)
    )
    with evaluation_mode(policy.model):
        measured = MeasuredModel(name, policy.model, Path(config.model.path))
        return measure_gradients(measured, samples, chosen)


def play_for_samples(policy: Policy, suite: Suite, config: Config) -> tuple[LabelledSample, ...]:
    """Coupling over training: play as the run's settings say. Raises UserError."""
    params = CollectParams(
        max_steps=config.env.max_steps,
        temperature=config.rollout.temperature,
        oracle_every=1 if config.coupling.label == "oracle" else 0,
    )
    with evaluation_mode(policy.model):
        return play_samples(policy, suite, config.coupling, params, config.seed)


def training_figure(
    runs: Sequence[tuple[str, Sequence[CouplingRecord]]], command: str = ""
) -> FigureData:
    """Figure of coupling over training: a curve for each pair of each run.

    Source: GC Figures 4 and 6.
    """
    series = []
    for name, records in runs:
        for pair in PAIRS:
            ends = [each.interval.of(pair) or (math.nan, math.nan) for each in records]
            series.append(
                Series(
                    f"{name} {pair}".strip(),
                    [each.iteration for each in records],
                    [each.cosine.of(pair) for each in records],
                    [low for low, _ in ends],
                    [high for _, high in ends],
                )
            )
    return FigureData(
        name="gradients_over_training",
        kind="lines",
        title="Cosines of mean gradients over training",
        caption="First letter: class of the in-domain steps, second: of the out-of-domain ones. "
        "Whiskers: 95% over resampled episodes.",
        command=command,
        x_label="iteration",
        y_label="cosine",
        series=tuple(series),
    )

"""Gradient cosines of a model's populations of samples: measured, as tables, figures and JSON.

This is what GC Table 1 and Figures 4, 6 and 10 show: how alike the mean gradients of good and bad
samples are, of the domain that is trained on and of the one that is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from torch import Tensor

from declutch.coupling.cosines import (
    PAIRS,
    POPULATIONS,
    Cosines,
    Populations,
    Reduce,
    check_advantages,
    choose_populations,
    contrast,
    measure_cosines,
    weigh,
)
from declutch.coupling.figure_data import FigureData, Series
from declutch.coupling.gram import Gram, GramSettings, Report, gradient_products
from declutch.coupling.measured import MeasuredModel
from declutch.coupling.samples import LabelledSample
from declutch.ground.errors import UserError
from declutch.report.cells import DASH, count_cell, number_cell
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words

_REDUCED = {
    "tokens": "a population's gradient is the mean over its tokens",
    "samples": "a population's gradient is the mean over its samples, each the mean of its tokens",
    "unit": "a population's gradient is the mean over its samples, each at unit norm",
}


@dataclass(frozen=True)
class GradientSettings:
    """How `measure_gradients` is to take gradients of samples, and of which parameters.

    Attributes:
        scope: the parameters of the JSON's numbers, see `Gram.scopes`; tables have all scopes.
        reduce: what a population's gradient is the mean of.
        by_advantage: weigh each sample's gradient by its advantage.
        seed: of what is drawn: samples of larger populations, permutations, splits, resamplings.
        gram: how inner products are computed.
    """

    scope: str = "all"
    reduce: Reduce = "tokens"
    by_advantage: bool = False
    seed: int = 0
    gram: GramSettings = field(default_factory=GramSettings)

    def __post_init__(self) -> None:
        if self.reduce not in get_args(Reduce):
            raise UserError(f"--reduce {self.reduce!r} is unknown; take tokens, samples or unit")


@dataclass(frozen=True)
class GradientResult:
    """What `measure_gradients` found of one model, by scope of the parameters.

    Attributes:
        model: its name.
        precision: the type it was computed in.
        settings: how it was measured.
        populations: which samples were used.
        by_scope: the cosines of every scope.
        products: f64[N, N] inner products of all samples' gradients over the settings' scope,
            weighed, in the order of the file.
        gram: how these were computed.
    """

    model: str
    precision: str
    settings: GradientSettings
    populations: Populations
    by_scope: Mapping[str, Cosines]
    products: Tensor
    gram: Gram

    @property
    def chosen(self) -> Cosines:
        """The cosines over the settings' scope."""
        return self.by_scope[self.settings.scope]


def measure_gradients(
    model: MeasuredModel,
    samples: Sequence[LabelledSample],
    settings: GradientSettings | None = None,
    report: Report | None = None,
) -> GradientResult:
    """Take gradients of a model's good and bad samples and compare their means by cosines.

    Args:
        samples: N, with labels and domains; equally many of each population are used.
        report: is told (done, total) samples.
    Raises:
        UserError: fewer than two samples of a population, an unknown scope, no advantages.
    Source: GC Table 1; `cosines` says what stands beside them.
    """
    settings = settings or GradientSettings()
    populations = choose_populations(samples, settings.seed)
    if settings.by_advantage:
        check_advantages(samples)  # Before the model is passed through for nothing.
    gram = gradient_products(model, samples, settings.gram, report)
    gram.scope(settings.scope)
    weighed = {
        scope: weigh(gram.scope(scope), samples, settings.reduce, settings.by_advantage)
        for scope in gram.scopes
    }
    by_scope = {
        scope: measure_cosines(products, populations, settings.seed)
        for scope, products in weighed.items()
    }
    return GradientResult(
        model=model.name,
        precision=model.precision,
        settings=settings,
        populations=populations,
        by_scope=by_scope,
        products=weighed[settings.scope],
        gram=gram,
    )


def gradient_data(result: GradientResult, with_gram: bool = False) -> dict[str, Any]:
    """What `measure_gradients` found as data of a JSON file; NaN is a number that there is not."""
    chosen = result.chosen
    data: dict[str, Any] = {
        "n": dict.fromkeys(POPULATIONS, result.populations.n),
        "episodes": {name: result.populations.num_blocks(name) for name in POPULATIONS},
        **_cosines_data(chosen),
        "flags": list(chosen.flags),
        "used": result.populations.used,
        "model": result.model,
        "scope": result.settings.scope,
        "reduce": result.settings.reduce,
        "by_advantage": result.settings.by_advantage,
        "temperature": result.settings.gram.temperature,
        "seed": result.settings.seed,
        "dtype": result.precision,
        "method": result.gram.method,
        "sketch_width": result.gram.width,
        "scopes": {scope: _cosines_data(each) for scope, each in result.by_scope.items()},
    }
    if with_gram:
        data["gram"] = result.products.tolist()
    return data


def _cosines_data(cosines: Cosines) -> dict[str, Any]:
    return {
        "cosine": dict(cosines.cosine),
        "corrected": dict(cosines.corrected),
        "null": {
            name: {"mean": each.mean, "low": each.low, "high": each.high, "p": each.p_value}
            for name, each in cosines.null.items()
        },
        "split_half": dict(cosines.split_half),
        "interval": {pair: list(ends) for pair, ends in cosines.interval.items()},
    }


def describe_choices(result: GradientResult) -> str:
    """Say in one line how `measure_gradients` took the gradients of a file's samples."""
    settings, gram = result.settings, result.gram
    parts = [
        f"n = {result.populations.n} samples in each of 4 populations",
        "episodes " + "/".join(str(result.populations.num_blocks(name)) for name in POPULATIONS),
        "advantage-weighted log-likelihood" if settings.by_advantage else "log-likelihood",
        _REDUCED[settings.reduce],
        f"temperature {settings.gram.temperature:g}",
        result.precision,
    ]
    if gram.method == "sketch":
        parts.append(f"sketched to {gram.width} numbers a group, error at most {gram.error:.4f}")
    return " · ".join(parts)


def gradient_sheets(result: GradientResult) -> list[Sheet]:
    """Tables of what `measure_gradients` found: all four pairs in full, and all scopes."""
    return [_pair_sheet(result), _scope_sheet(result)]


def _pair_sheet(result: GradientResult) -> Sheet:
    chosen = result.chosen
    rows = []
    for pair in PAIRS:
        null, (low, high) = chosen.null[pair], chosen.interval[pair]
        ends = None if math.isnan(low) else (low, high)
        is_noise = not chosen.split_half[pair] >= 0.5
        rows.append(
            SheetRow(
                (
                    Cell(pair),
                    Cell(
                        f"{chosen.cosine[pair]:.3f}",
                        chosen.cosine[pair],
                        detail="" if ends is None else f"[{low:.3f}, {high:.3f}]",
                        interval=ends,
                    ),
                    number_cell(chosen.corrected[pair], 3),
                    Cell(
                        f"{null.mean:.3f}",
                        null.mean,
                        detail=f"[{null.low:.3f}, {null.high:.3f}]",
                        interval=(null.low, null.high),
                    ),
                    number_cell(null.p_value, 3),
                    Cell(
                        number_cell(chosen.split_half[pair], 2).text,
                        chosen.split_half[pair],
                        tone="warn" if is_noise else "",
                    ),
                    count_cell(result.populations.n),
                )
            )
        )
    against = chosen.null["contrast"]
    notes = (
        "The first letter is the class of the in-domain samples, the second that of the "
        "out-of-domain ones.",
        f"Half of pp + nn - pn - np is {contrast(chosen.cosine):.4f}; shuffled labels give "
        f"[{against.low:.4f}, {against.high:.4f}], one-sided p = {against.p_value:.3f}.",
        *chosen.flags,
    )
    return Sheet(
        title=f"Cosines of mean gradients: {result.model}, {result.settings.scope}",
        columns=(
            words("pair"),
            Column("cosine"),
            Column("without noise"),
            Column("shuffled labels"),
            Column("p"),
            Column("split-half"),
            Column("n"),
        ),
        rows=tuple(rows),
        header=describe_choices(result),
        notes=notes,
    )


def _scope_sheet(result: GradientResult) -> Sheet:
    rows = []
    for scope, each in result.by_scope.items():
        reliability = min((each.split_half[pair] for pair in PAIRS), default=math.nan)
        rows.append(
            SheetRow(
                (
                    Cell(scope),
                    *(number_cell(each.cosine[pair], 3) for pair in PAIRS),
                    *(number_cell(each.corrected[pair], 3) for pair in PAIRS),
                    number_cell(reliability, 2),
                ),
                is_apart=scope == "layer.0",
            )
        )
    return Sheet(
        title=f"Cosines of mean gradients by part of the model: {result.model}",
        columns=(
            words("parameters"),
            *(Column(pair) for pair in PAIRS),
            *(Column(f"{pair} without noise") for pair in PAIRS),
            Column("lowest split-half"),
        ),
        rows=tuple(rows),
        header=describe_choices(result),
        notes=(f"{DASH}: noise is all there is.",),
    )


def gradient_figures(result: GradientResult, command: str = "") -> list[FigureData]:
    """Figures of what `measure_gradients` found: bars beside shuffled labels, and by layer."""
    chosen = result.chosen
    place = tuple(range(len(PAIRS)))
    bars = FigureData(
        name="gradients_cosines",
        kind="bars",
        title=f"Cosines of mean gradients: {result.model}",
        caption=f"{describe_choices(result)}. Parameters: {result.settings.scope}. Whiskers: 95% "
        "over resampled episodes, and 2.5% to 97.5% of shuffled labels.",
        command=command,
        x_label="class of the in-domain and of the out-of-domain samples",
        y_label="cosine",
        x_ticks=tuple(PAIRS),
        series=(
            Series(
                "cosine",
                place,
                [chosen.cosine[pair] for pair in PAIRS],
                [chosen.interval[pair][0] for pair in PAIRS],
                [chosen.interval[pair][1] for pair in PAIRS],
            ),
            Series("without noise", place, [chosen.corrected[pair] for pair in PAIRS]),
            Series(
                "shuffled labels",
                place,
                [chosen.null[pair].mean for pair in PAIRS],
                [chosen.null[pair].low for pair in PAIRS],
                [chosen.null[pair].high for pair in PAIRS],
            ),
        ),
    )
    layers = [scope for scope in result.by_scope if scope.startswith("layer.")]
    lines = FigureData(
        name="gradients_layers",
        kind="lines",
        title=f"Cosines of mean gradients by layer: {result.model}",
        caption=describe_choices(result),
        command=command,
        x_label="layer",
        y_label="cosine",
        series=tuple(
            Series(
                pair,
                tuple(range(len(layers))),
                [result.by_scope[layer].cosine[pair] for layer in layers],
            )
            for pair in PAIRS
        ),
    )
    return [bars, lines]

"""Influence as tables, figures and JSON: the matrix of all pairs, and how its two ways agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from declutch.coupling.figure_data import FigureData, Series
from declutch.coupling.influence import AGREEMENT, Influence, InfluenceSettings
from declutch.coupling.samples import LabelledSample
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words


def influence_data(
    influence: Influence, samples: Sequence[LabelledSample], settings: InfluenceSettings
) -> dict[str, Any]:
    """Influence as the data of a JSON file: rows are stepped on, columns are measured."""
    return {
        "first_order": influence.first_order.tolist(),
        "exact": influence.exact.tolist(),
        "eta": influence.eta,
        "disagreement": influence.disagreement,
        "agrees": influence.agrees,
        "step": settings.step,
        "per_token": settings.is_per_token,
        "temperature": settings.gram.temperature,
        "logprobs": influence.logprobs.tolist(),
        "samples": [sample.id for sample in samples],
        "trials": [vars(trial) for trial in influence.trials],
    }


def influence_sheets(
    influence: Influence,
    names: Sequence[str],
    settings: InfluenceSettings,
    model: str,
) -> list[Sheet]:
    """The tables of influence: what a step does to its own sample and to the others; all pairs."""
    exact = influence.exact
    n = len(exact)
    rows = []
    for index, name in enumerate(names):
        others = [j for j in range(n) if j != index]
        values = exact[index, others]
        strongest = others[int(values.abs().argmax())] if others else index
        rows.append(
            SheetRow(
                (
                    Cell(name),
                    _cell(float(exact[index, index])),
                    _cell(float(values.mean()) if others else float("nan")),
                    _cell(float(exact[index, strongest])),
                    Cell(names[strongest]),
                )
            )
        )
    return [
        Sheet(
            title=f"Influence of a step: {model}",
            columns=(
                words("step on"),
                Column("on itself"),
                Column("on the others, mean"),
                Column("strongest other"),
                words("which"),
            ),
            rows=tuple(rows),
            header=describe_influence(influence, settings),
            notes=_notes(influence),
        ),
        Sheet(
            title=f"Influence of a step on every sample: {model}",
            columns=(words("step on"), *(Column(name) for name in names)),
            rows=tuple(
                SheetRow((Cell(name), *(_cell(value) for value in row)))
                for name, row in zip(names, exact.tolist(), strict=True)
            ),
            header=describe_influence(influence, settings),
            is_detail=True,
        ),
    ]


def describe_influence(influence: Influence, settings: InfluenceSettings) -> str:
    """Say in one line above the tables of influence how it was measured."""
    what = "mean log-probability of a token" if settings.is_per_token else "log-probability"
    step = {"sgd": "a gradient step", "adamw": "the first step of AdamW"}[settings.step]
    return (
        f"change of {what} / eta after {step} · eta {influence.eta:.3g} · exact and first order "
        f"differ by at most {100 * influence.disagreement:.2g}% of a row's largest entry · "
        f"temperature {settings.gram.temperature:g}"
    )


def _notes(influence: Influence) -> tuple[str, ...]:
    if influence.agrees:
        return ()
    return (
        f"Exact change and first order differ by more than {100 * AGREEMENT:g}%: a smaller step "
        "would drown in rounding, or eta was given. Take --dtype float64.",
    )


def _cell(value: float) -> Cell:
    return Cell("–" if value != value else f"{value:.3g}", value)


def influence_figures(
    influence: Influence,
    names: Sequence[str],
    settings: InfluenceSettings,
    model: str,
    command: str = "",
) -> list[FigureData]:
    """Heat maps that go with the tables of influence, and the error of the first order.

    The second one is normalised, which a step of AdamW has no measure for.
    """
    caption = describe_influence(influence, settings)
    heat = FigureData(
        name="influence",
        kind="heatmap",
        title=f"Influence of a step: {model}",
        caption=caption,
        command=command,
        x_label="measured",
        y_label="step on",
        value_label="change of log-probability / eta",
        x_ticks=names,
        y_ticks=names,
        values=influence.exact.tolist(),
        is_diverging=True,
    )
    etas = [trial.eta for trial in influence.trials]
    agreement = FigureData(
        name="influence_agreement",
        kind="lines",
        title=f"Exact change and first order by size of the step: {model}",
        caption="The row with the largest entry. The change grows with eta (slope 1), the error "
        f"of the first order with its square (slope 2). {caption}",
        command=command,
        x_label="eta",
        y_label="root mean square, nats",
        series=(
            Series("change of log-probability", etas, [t.change for t in influence.trials]),
            Series("error of the first order", etas, [t.error for t in influence.trials]),
        ),
        x_log=True,
        y_log=True,
    )
    if settings.step != "sgd":
        return [heat, agreement]
    own = influence.first_order.diag().clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    alike = replace(
        heat,
        name="influence_normalised",
        title=f"Influence of a step, normalised: {model}",
        caption="First order, divided by the root of what the two samples' steps do to themselves: "
        f"the cosine of their gradients. One rare action does not hide the others. {caption}",
        value_label="cosine of the two gradients",
        values=(influence.first_order / own[:, None] / own).tolist(),
    )
    return [heat, alike, agreement]

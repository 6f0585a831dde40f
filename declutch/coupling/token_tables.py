"""Token coupling as tables, figures and JSON: the class gaps, all pairs, and one pair's tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from declutch.coupling.figure_data import FigureData, TokenLine
from declutch.coupling.measured import MeasuredModel
from declutch.coupling.samples import LabelledSample
from declutch.coupling.tokens import Gap, Gaps, PairScores
from declutch.ground.errors import UserError
from declutch.report.cells import count_cell
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words

MAX_CELLS = 60
"""Heat maps of more samples than this are of the first ones."""


@dataclass(frozen=True)
class TokenResult:
    """Token coupling of one model's samples, to be told in tables.

    Attributes:
        model: its name.
        choices: how it was measured, in one line.
        samples: n, in the order of the file.
        matrix: f64[n, n], or None where it was not asked for.
        gaps: by domain.
        pair: two samples and their tokens' scores, or None.
    """

    model: str
    choices: str
    samples: Sequence[LabelledSample]
    matrix: Tensor | None
    gaps: Gaps
    pair: tuple[LabelledSample, LabelledSample, PairScores] | None = None


def describe_tokens(model: MeasuredModel, temperature: float) -> str:
    """Say in one line how token coupling was measured, for headers and captions."""
    tied = (
        model.network.get_output_embeddings().weight is model.network.get_input_embeddings().weight
    )
    part = (
        "the read-out's part of a tied matrix's gradient"
        if tied
        else "the gradient of the read-out"
    )
    return f"{part} · temperature {temperature:g} · {model.precision}"


def find_sample(samples: Sequence[LabelledSample], name: str) -> int:
    """Find the row of the token tables that a sample's id, or else its number, names.

    Raises:
        UserError: there is none.
    """
    for index, sample in enumerate(samples):
        if sample.id == name:
            return index
    if name.isdecimal() and int(name) < len(samples):
        return int(name)
    raise UserError(f"--pair {name!r} is no id of a sample and no row from 0 to {len(samples) - 1}")


def token_data(result: TokenResult, texts: Sequence[Sequence[str]] = ((), ())) -> dict[str, Any]:
    """What the tables of token coupling show, as data of a JSON file; NaN where there is none.

    Args:
        texts: of the tokens of the pair's two samples, () where there is no tokenizer.
    """
    data: dict[str, Any] = {
        "gap": {domain: gap.value for domain, gap in result.gaps.raw.items()},
        "gap_normalised": {domain: gap.value for domain, gap in result.gaps.normalised.items()},
        "means": {domain: _gap_data(gap) for domain, gap in result.gaps.raw.items()},
        "means_normalised": {
            domain: _gap_data(gap) for domain, gap in result.gaps.normalised.items()
        },
        "model": result.model,
        "choices": result.choices,
        "samples": [sample.id for sample in result.samples],
    }
    if result.matrix is not None:
        data["coupling"] = result.matrix.tolist()
    if result.pair is not None:
        left, right, scores = result.pair
        data["pair"] = {
            "a": left.id,
            "b": right.id,
            "total": scores.total,
            "scores_a": scores.left.tolist(),
            "scores_b": scores.right.tolist(),
            "token_ids_a": left.response_ids.tolist(),
            "token_ids_b": right.response_ids.tolist(),
            "tokens_a": list(texts[0]),
            "tokens_b": list(texts[1]),
        }
    return data


def _gap_data(gap: Gap) -> dict[str, float]:
    return {
        "pp": gap.pp,
        "nn": gap.nn,
        "pn": gap.pn,
        "num_pos": gap.num_pos,
        "num_neg": gap.num_neg,
    }


def token_sheets(result: TokenResult, texts: Sequence[Sequence[str]] = ((), ())) -> list[Sheet]:
    """The tables of token coupling: class gaps by domain, and a pair's tokens where asked for."""
    sheets = [_gap_sheet(result)]
    if result.pair is not None:
        left, right, scores = result.pair
        for sample, other, values, own in (
            (left, right, scores.left, texts[0]),
            (right, left, scores.right, texts[1]),
        ):
            sheets.append(_score_sheet(sample, other, values, own, scores.total))
    return sheets


def _gap_sheet(result: TokenResult) -> Sheet:
    rows = []
    for title, gaps in (("raw", result.gaps.raw), ("normalised", result.gaps.normalised)):
        for domain, gap in gaps.items():
            rows.append(
                SheetRow(
                    (
                        Cell(f"{title}, {domain}"),
                        *(_number(value) for value in (gap.value, gap.pp, gap.nn, gap.pn)),
                        count_cell(gap.num_pos),
                        count_cell(gap.num_neg),
                    ),
                    is_apart=title == "normalised" and domain == next(iter(gaps)),
                )
            )
    return Sheet(
        title=f"Token coupling within and across classes: {result.model}",
        columns=(
            words("coupling, domain"),
            Column("gap"),
            Column("two positives"),
            Column("two negatives"),
            Column("one of each"),
            Column("positives"),
            Column("negatives"),
        ),
        rows=tuple(rows),
        header=result.choices,
        notes=(
            "The gap is half of what two positives and two negatives have, less what one of each "
            "has: means over pairs of different samples, of the mean over both token axes. The raw "
            "gap grows with the square of the hidden states' norm; compare checkpoints by the "
            "normalised one.",
        ),
    )


def _number(value: float) -> Cell:
    return Cell("–" if math.isnan(value) else f"{value:.4g}", value)


def _score_sheet(
    sample: LabelledSample,
    other: LabelledSample,
    values: Tensor,
    texts: Sequence[str],
    total: float,
) -> Sheet:
    names = list(texts) or [f"token {each}" for each in sample.response_ids.tolist()]
    rows = [
        SheetRow((Cell(name), _number(value)))
        for name, value in zip(names, values.tolist(), strict=True)
    ]
    rows.append(SheetRow((Cell("all"), _number(total)), role="main"))
    return Sheet(
        title=f"Token coupling of {sample.id} with {other.id}, by tokens of {sample.id}",
        columns=(words("token"), Column("coupling")),
        rows=tuple(rows),
    )


def token_figures(
    result: TokenResult, texts: Sequence[Sequence[str]] = ((), ()), command: str = ""
) -> list[FigureData]:
    """Heat map and text that go with the tables of token coupling: all pairs, a pair's tokens."""
    figures = []
    if result.matrix is not None:
        shown = min(MAX_CELLS, len(result.samples))
        own = result.matrix.diag().clamp(min=1e-300).sqrt()
        normalised = (result.matrix / own[:, None] / own)[:shown, :shown]
        names = [describe_sample(sample) for sample in result.samples[:shown]]
        figures.append(
            FigureData(
                name="tokens_matrix",
                kind="heatmap",
                title=f"Token coupling of all pairs, normalised: {result.model}",
                caption=f"{result.choices}. C_ij / sqrt(C_ii C_jj); {shown} of "
                f"{len(result.samples)} samples.",
                command=command,
                x_label="sample",
                y_label="sample",
                value_label="normalised coupling",
                x_ticks=names,
                y_ticks=names,
                values=normalised.tolist(),
                is_diverging=True,
            )
        )
    if result.pair is not None:
        left, right, scores = result.pair
        figures.append(
            FigureData(
                name="tokens_pair",
                kind="tokens",
                title=f"Token coupling of {left.id} with {right.id}: {scores.total:.4g}",
                caption=f"{result.choices}. The scores of either text add up to the pair's "
                "coupling.",
                command=command,
                value_label="coupling",
                lines=tuple(
                    TokenLine(
                        describe_sample(sample),
                        list(own) or [str(each) for each in sample.response_ids.tolist()],
                        values.tolist(),
                        scores.total,
                    )
                    for sample, values, own in (
                        (left, scores.left, texts[0]),
                        (right, scores.right, texts[1]),
                    )
                ),
                is_diverging=True,
            )
        )
    return figures


def describe_sample(sample: LabelledSample) -> str:
    """Name a sample in the tables of token coupling and on axes: its domain, class and id."""
    label = {1: "good", 0: "bad", None: ""}[sample.label]
    return " ".join(part for part in (sample.domain, label, sample.id) if part)

"""`declutch coupling tokens`: what pairs of responses share through the read-out, by token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.coupling_options import ResultOptions, SampleOptions, command_line
from declutch.cli.options import grouped

if TYPE_CHECKING:
    from declutch.coupling.measured import MeasuredModel
    from declutch.coupling.samples import LabelledSample


@grouped
def tokens_command(
    model: Annotated[
        Path,
        typer.Argument(help="A model folder, or a run folder, which stands for its checkpoint."),
    ],
    given: SampleOptions,
    results: ResultOptions,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--pair",
            metavar="A B",
            help="Two samples, by id or by row (0 is the first), whose coupling is shared out to "
            "their tokens.",
        ),
    ] = None,
    matrix: Annotated[
        bool,
        typer.Option(
            "--matrix/--no-matrix",
            help="Compute the coupling of all pairs; without it the class gaps alone, whose time "
            "is linear in the number of samples.",
        ),
    ] = True,
    temperature: Annotated[float, typer.Option(help="The logits are divided by it.")] = 1.0,
) -> None:
    """Measure the coupling of responses through the read-out, its class gap, and its tokens."""
    from declutch.coupling.token_tables import (
        TokenResult,
        describe_tokens,
        find_sample,
        token_data,
        token_figures,
        token_sheets,
    )
    from declutch.coupling.tokens import (
        coupling_matrix,
        left_out_of_gaps,
        measure_gaps,
        share_out,
    )

    measured, samples, warnings = given.load(model)
    chosen = [samples[find_sample(samples, name)] for name in pair or ()]
    result = TokenResult(
        model=measured.name,
        choices=describe_tokens(measured, temperature),
        samples=samples,
        matrix=coupling_matrix(measured, samples, temperature) if matrix else None,
        gaps=measure_gaps(measured, samples, temperature),
        pair=(chosen[0], chosen[1], share_out(measured, chosen[0], chosen[1], temperature))
        if pair
        else None,
    )
    warnings += left_out_of_gaps(samples)
    for domain, gap in result.gaps.raw.items():
        if min(gap.num_pos, gap.num_neg) < 2:
            warnings.append(
                f"no gap in domain {domain!r}: it needs 2 samples of each class, but there are "
                f"{gap.num_pos} positive and {gap.num_neg} negative ones"
            )
    texts = [token_texts(measured, sample) for sample in chosen] or [[], []]
    results.give(
        "tokens",
        token_data(result, texts),
        token_sheets(result, texts),
        token_figures(result, texts, command_line()),
        warnings,
    )


def token_texts(measured: MeasuredModel, sample: LabelledSample) -> Sequence[str]:
    """For `declutch coupling tokens`: texts of a response's tokens, () without a tokenizer."""
    from declutch.ground.errors import UserError
    from declutch.models.load import load_tokenizer

    try:
        tokenizer = load_tokenizer(measured.folder)
    except UserError:
        return ()
    return [tokenizer.decode([each]) for each in sample.response_ids.tolist()]

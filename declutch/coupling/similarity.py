"""Similarity of samples as a model embeds them, before and after what all share is taken away.

The embedding of a sample is the mean over its prompt's tokens of the last hidden state, after the
final norm. Raw cosines are near 1 even for a random model, since all embeddings share a direction:
the cosines after the mean of all samples is taken away stand beside them.

Source: RM Figure 3a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from declutch.coupling.figure_data import FigureData, Series
from declutch.coupling.measured import MeasuredModel, micro_batches
from declutch.coupling.samples import LabelledSample
from declutch.judge.themes import load_embedder
from declutch.models.load import load_tokenizer
from declutch.report.cells import count_cell, number_cell
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words


@dataclass(frozen=True)
class Similarity:
    """The similarity of n samples' embeddings.

    Attributes:
        cosine: f64[n, n], of the embeddings as they are.
        centred: f64[n, n], of the embeddings less their mean.
    """

    cosine: Tensor
    centred: Tensor

    @property
    def mean(self) -> float:
        """Mean cosine of pairs of different samples."""
        return mean_of_pairs(self.cosine)

    @property
    def centred_mean(self) -> float:
        """Mean cosine of pairs of different samples, less the mean of all. It is negative where
        nothing but the mean is shared."""
        return mean_of_pairs(self.centred)


def embed_prompts(model: MeasuredModel, samples: Sequence[LabelledSample]) -> Tensor:
    """Embed the prompts of samples whose similarity is asked for: f64[n, D] of a model's own."""
    network: Any = model.network
    out: list[Tensor] = [torch.empty(0)] * len(samples)
    with torch.no_grad():
        for micro in micro_batches(samples, model.device):
            hidden = network.base_model(input_ids=micro.input_ids, use_cache=False)
            for row, states in zip(micro.rows.tolist(), hidden.last_hidden_state, strict=True):
                size = samples[row].prompt_ids.numel()
                out[row] = states[:size].double().mean(0).cpu()
    return torch.stack(out)


def embed_sentences(model: MeasuredModel, samples: Sequence[LabelledSample]) -> Tensor:
    """Embed the texts of prompts whose similarity is asked for by a sentence model: f64[n, D].

    It is all-MiniLM-L6-v2, which reads the first 256 tokens of its own of each text.

    Raises:
        UserError: it is not installed, or the measured model has no tokenizer.
    """
    tokenizer = load_tokenizer(model.folder)
    texts = [tokenizer.decode(each.prompt_ids, skip_special_tokens=True) for each in samples]
    return torch.from_numpy(load_embedder("minilm")(texts))


def compare_embeddings(embeddings: Tensor, mean: Tensor | None = None) -> Similarity:
    """Compare embeddings f64[n, D] of samples by their similarity.

    Args:
        mean: f64[D] that is taken away; None for their own.
    """
    centre = embeddings.mean(0) if mean is None else mean
    return Similarity(_cosines(embeddings), _cosines(embeddings - centre))


def mean_of_pairs(matrix: Tensor) -> float:
    """The mean similarity of pairs of different samples, NaN below two."""
    n = len(matrix)
    if n < 2:
        return float("nan")
    return float((matrix.sum() - matrix.diag().sum()) / (n * (n - 1)))


def _cosines(vectors: Tensor) -> Tensor:
    unit = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return unit @ unit.T


def similarity_data(similarity: Similarity, samples: Sequence[LabelledSample]) -> dict[str, Any]:
    """The measured similarity of samples as plain data, means by domain included."""
    return {
        "mean": similarity.mean,
        "centred_mean": similarity.centred_mean,
        "by_domain": {
            domain: {
                "n": len(chosen),
                "mean": mean_of_pairs(similarity.cosine[chosen][:, chosen]),
                "centred_mean": mean_of_pairs(similarity.centred[chosen][:, chosen]),
            }
            for domain, chosen in _domains(samples).items()
        },
        "cosine": similarity.cosine.tolist(),
        "centred": similarity.centred.tolist(),
        "samples": [sample.id for sample in samples],
    }


def _domains(samples: Sequence[LabelledSample]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        found.setdefault(sample.domain or "all", []).append(index)
    return found


def similarity_sheet(
    similarities: Sequence[tuple[str, Similarity]], model: str, embedder: str
) -> Sheet:
    """The table of samples' similarity, a row for each file of samples."""
    rows = [
        SheetRow(
            (
                Cell(name),
                number_cell(each.mean, 3),
                number_cell(each.centred_mean, 3),
                count_cell(len(each.cosine)),
            )
        )
        for name, each in similarities
    ]
    return Sheet(
        title=f"Similarity of prompts: {model}",
        columns=(
            words("samples"),
            Column("mean cosine"),
            Column("less the mean"),
            Column("n"),
        ),
        rows=tuple(rows),
        header=embedder,
        notes=(
            "The mean is over pairs of different samples. Raw cosines are near 1 even for a random "
            "model; less the mean of all samples in the table, they say what samples of a file "
            "share that those of the others do not.",
        ),
    )


def similarity_figure(
    similarities: Sequence[tuple[str, Similarity]], model: str, embedder: str, command: str = ""
) -> FigureData:
    """Figure of how similar samples are: bars for each file, from their similarity."""
    place = tuple(range(len(similarities)))
    return FigureData(
        name="similarity",
        kind="bars",
        title=f"Similarity of prompts: {model}",
        caption=f"{embedder}. Mean cosine of pairs of different samples.",
        command=command,
        x_label="samples",
        y_label="cosine",
        x_ticks=[name for name, _ in similarities],
        series=(
            Series("as they are", place, [each.mean for _, each in similarities]),
            Series("less the mean", place, [each.centred_mean for _, each in similarities]),
        ),
    )

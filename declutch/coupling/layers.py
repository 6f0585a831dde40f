"""How far two models are apart, layer by layer: hidden states, and what they would say of them.

At every place that predicts a token of a response, the hidden state after each layer is compared,
and so are the logits that the model's own final norm and read-out make of it.

Source: RM Figure 10b.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from declutch.coupling.figure_data import FigureData, Series
from declutch.coupling.measured import MeasuredModel, Micro, micro_batches
from declutch.coupling.samples import LabelledSample
from declutch.ground.errors import UserError
from declutch.report.cells import number_cell
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words


@dataclass(frozen=True)
class LayerDistance:
    """How far two models are apart after one of their layers.

    Attributes:
        layer: 0 is the embedding, n the last layer, before the final norm.
        hidden_mae, logits_mae: mean over dimensions (or the vocabulary), then over tokens, of the
            absolute difference.
        hidden_cosine, logits_cosine: mean over tokens of the cosine.
    """

    layer: int
    hidden_mae: float
    hidden_cosine: float
    logits_mae: float
    logits_cosine: float


def compare_layers(
    first: MeasuredModel, second: MeasuredModel, samples: Sequence[LabelledSample]
) -> tuple[LayerDistance, ...]:
    """Compare two models layer by layer, at the places that predict the samples' responses.

    Raises:
        UserError: they do not have the same layers, widths or vocabulary.
    """
    _check_alike(first, second)
    sums: list[Tensor] = []
    num_tokens = 0
    with torch.no_grad():
        for micro in micro_batches(samples, first.device, max_rows=16):
            num_tokens += int(micro.is_token.sum())
            pairs = zip(_states(first, micro), _states(second, micro), strict=True)
            found = [_differences(first, second, a, b) for a, b in pairs]
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
    return tuple(
        LayerDistance(layer, *(each / num_tokens).tolist()) for layer, each in enumerate(sums)
    )


def _differences(first: MeasuredModel, second: MeasuredModel, a: Tensor, b: Tensor) -> Tensor:
    """f64[4], sums over tokens."""
    logits = _read(first.network, a), _read(second.network, b)
    found = []
    for left, right in ((a, b), logits):
        left, right = left.double(), right.double()
        found += [
            (left - right).abs().mean(-1).sum(),
            nn.functional.cosine_similarity(left, right, dim=-1, eps=0.0).sum(),
        ]
    return torch.stack(found).cpu()


def _states(model: MeasuredModel, micro: Micro) -> list[Tensor]:
    """[N, D] before the first layer and after each, at the places that predict tokens."""
    kept: list[Tensor] = []
    rows = torch.arange(len(micro.rows), device=micro.place.device)[:, None]
    with _watching(_layers(model.network), kept):
        model.network.base_model(input_ids=micro.input_ids, use_cache=False)
    return [each[rows, micro.place][micro.is_token] for each in kept]


@contextmanager
def _watching(layers: Sequence[nn.Module], kept: list[Tensor]) -> Iterator[None]:
    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        kept.append(args[0] if args else kwargs["hidden_states"])

    def after(module: nn.Module, args: Any, out: Any) -> None:
        kept.append(out[0] if isinstance(out, tuple) else out)

    handles = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [layer.register_forward_hook(after) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(network: Any) -> Sequence[nn.Module]:
    base = network.base_model
    for name in ("layers", "h", "blocks"):
        found = getattr(base, name, None)
        if isinstance(found, nn.ModuleList):
            return list(found)
    raise UserError(f"the layers of a {type(network).__name__} are not found")


def _read(network: Any, hidden: Tensor) -> Tensor:
    """What the final norm and the read-out make of hidden states [N, D]: logits [N, V]."""
    base = network.base_model
    for name in ("norm", "ln_f", "final_layernorm"):
        norm = getattr(base, name, None)
        if isinstance(norm, nn.Module):
            logits: Tensor = network.get_output_embeddings()(norm(hidden))
            return logits
    raise UserError(f"the final norm of a {type(network).__name__} is not found")


def _check_alike(first: MeasuredModel, second: MeasuredModel) -> None:
    shapes = []
    for model in (first, second):
        vocabulary, width = model.network.get_output_embeddings().weight.shape
        shapes.append(f"{len(_layers(model.network))} layers of {width}, {vocabulary} tokens")
    if shapes[0] != shapes[1]:
        raise UserError(
            f"two models are compared layer by layer where they have the same shape: {first.name} "
            f"has {shapes[0]}, {second.name} {shapes[1]}"
        )


def layer_data(distances: Sequence[LayerDistance]) -> dict[str, Any]:
    """How far two models are apart, layer by layer, as the data of a JSON file."""
    return {"layers": [vars(each) for each in distances]}


def layer_sheet(distances: Sequence[LayerDistance], names: tuple[str, str], n: int) -> Sheet:
    """The table of how far two models are apart after each layer, at n samples' responses."""
    return Sheet(
        title=f"Layers of {names[0]} against {names[1]}",
        columns=(
            words("after layer"),
            Column("hidden state, mean |difference|"),
            Column("hidden state, cosine"),
            Column("logits, mean |difference|"),
            Column("logits, cosine"),
        ),
        rows=tuple(
            SheetRow(
                (
                    Cell("embedding" if each.layer == 0 else str(each.layer)),
                    number_cell(each.hidden_mae, 5),
                    number_cell(each.hidden_cosine, 5),
                    number_cell(each.logits_mae, 5),
                    number_cell(each.logits_cosine, 5),
                )
            )
            for each in distances
        ),
        header=f"{n} samples, at the places that predict their responses",
        notes=(
            "Logits are what the model's own final norm and read-out make of the hidden state.",
        ),
    )


def layer_figures(
    distances: Sequence[LayerDistance], names: tuple[str, str], n: int, command: str = ""
) -> list[FigureData]:
    """Figures of two models' layers: how far apart they are after each, and cosines."""
    layers = [each.layer for each in distances]
    caption = f"{n} samples, at the places that predict their responses; layer 0 is the embedding."
    return [
        FigureData(
            name=f"layers_{stem}",
            kind="lines",
            title=f"{title} by layer: {names[0]} against {names[1]}",
            caption=caption,
            command=command,
            x_label="layer",
            y_label=title,
            series=tuple(
                Series(label, layers, [getattr(each, f"{part}_{stem}") for each in distances])
                for label, part in (("hidden state", "hidden"), ("logits", "logits"))
            ),
        )
        for stem, title in (("mae", "mean absolute difference"), ("cosine", "cosine"))
    ]

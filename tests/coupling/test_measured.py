"""A model of float64 computes in it all through, but for its table of rotary positions."""

import pytest
import torch
from tiny_models import tiny_model
from torch import nn

from declutch.coupling.measured import computes_in_float64


class Router(nn.Module):
    """Chooses experts in float32, in the ways that implementations do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 3))

    def forward(self, x):
        scores = torch.nn.functional.linear(x.type(torch.float32), self.weight.to(torch.float32))
        return torch.softmax(scores, dim=-1, dtype=torch.float) + x.float()


class ToyRotaryEmbedding(nn.Module):
    def forward(self, x):
        return x.float().cos()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.router, self.rotary = Router(), ToyRotaryEmbedding()

    def forward(self, x):
        return self.router(x), self.rotary(x), x.float()


def test_whatever_casts_to_float32_stays_in_float64() -> None:
    x = torch.randn(2, 3, dtype=torch.float64)
    model = computes_in_float64(Model().double())
    routed, rotary, last = model(x)
    assert (routed.dtype, rotary.dtype, last.dtype) == (
        torch.float64,
        torch.float32,
        torch.float64,
    )
    assert torch.equal(routed, torch.softmax(x @ torch.ones(3, 3).double(), dim=-1) + x)
    # A module that is called by itself is no exception, and outside nothing is changed.
    assert model.router(x).dtype == torch.float64
    assert x.float().dtype == torch.float32


@pytest.mark.parametrize("name", ["gemma2", "qwen2", "cohere"])
def test_logits_are_as_exact_as_their_type(name) -> None:
    network = computes_in_float64(tiny_model(name).double())
    ids = torch.arange(1, 9)[None]
    logits = network(input_ids=ids).logits
    assert logits.dtype == torch.float64
    # In float32 logits of one more token are equal to 1e-7 only.
    longer = network(input_ids=torch.cat([ids, ids], dim=1)).logits[:, :8]
    assert float((logits - longer).abs().max().detach()) < 1e-13

from types import SimpleNamespace

import pytest
import torch

from declutch.models.precision import needs_mask


def fake_model(device="cuda", dtype=torch.float32, attention="sdpa", groups=3):
    config = SimpleNamespace(
        num_attention_heads=9, num_key_value_heads=groups, _attn_implementation=attention
    )
    config.get_text_config = lambda: config
    return SimpleNamespace(device=torch.device(device), dtype=dtype, config=config)


def test_float32_on_cuda_with_grouped_queries_needs_a_mask():
    assert needs_mask(fake_model())


@pytest.mark.parametrize(
    "other",
    [{"device": "cpu"}, {"dtype": torch.bfloat16}, {"attention": "eager"}, {"groups": 9}],
)
def test_nothing_else_does(other):
    assert not needs_mask(fake_model(**other))

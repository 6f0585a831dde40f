"""The memory of a pass on an outline is that of the same pass on a real model."""

import pytest
import torch
import transformers
from tiny_models import SIZE, tiny_model

from declutch.config.policy import LoRAConfig, ModelConfig
from declutch.learner import forward
from declutch.learner.memory import MemoryEstimate, MemoryPart, PassShape, _meter, meter_pass
from declutch.models.checkpointing import enable_checkpointing
from declutch.models.outline import layers_alike, outlined
from declutch.models.precision import set_compute_dtype
from declutch.models.readout import set_logits_limit

SHAPE = PassShape(num_rows=3, prompt_tokens=40, response_tokens=20)


def shapes(**changes):
    size = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 6, "vocab_size": 500}
    return transformers.Qwen2Config(**{**SIZE, **size, **changes})


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "is_checkpointed"), [("float32", False), ("bfloat16", True)])
def test_an_outline_takes_what_the_model_takes(dtype, is_checkpointed, monkeypatch):
    # The fused pass, which is for CPUs, keeps less than the model's own, which is estimated.
    monkeypatch.setattr(forward, "can_fuse_now", lambda model: False)
    config = ModelConfig(dtype=dtype, gradient_checkpointing=is_checkpointed)
    with outlined(shapes(), config) as model:
        found = meter_pass(model, SHAPE)
    model = transformers.AutoModelForCausalLM.from_config(shapes()).eval()
    set_compute_dtype(model, getattr(torch, dtype))
    if is_checkpointed:
        enable_checkpointing(model)
    # All six layers of the model, where the outline's were told from two and three.
    expected = _meter(model, SHAPE, learns=True)
    assert found.kept == pytest.approx(expected.kept, rel=0.06)
    assert found.peak == pytest.approx(expected.peak, rel=0.06)


@pytest.mark.slow
def test_few_layers_below_a_large_vocabulary_do_not_tell_the_peak_of_many():
    """With few layers the peak is at the gradient of the read-out, with many before it."""
    large = shapes(vocab_size=2_500, num_hidden_layers=16, tie_word_embeddings=True)
    shape = PassShape(num_rows=1, prompt_tokens=20, response_tokens=5)
    with outlined(large, ModelConfig()) as model:
        few, whole = meter_pass(model, shape), _meter(model, shape, learns=True)
    assert few.kept == pytest.approx(whole.kept, rel=0.01)
    assert few.peak == pytest.approx(whole.peak, rel=0.01)
    assert few.peak > few.kept


def test_a_pass_without_a_gradient_keeps_nothing():
    with outlined(shapes(), ModelConfig()) as model:
        learning, probing = (meter_pass(model, SHAPE, learns) for learns in (True, False))
    assert probing.kept == 0
    assert 0 < probing.peak < learning.kept


def test_logits_in_parts_take_less():
    with outlined(shapes(), ModelConfig()) as model:
        whole = meter_pass(model, SHAPE)
        set_logits_limit(model, 5 * 4 * 500 / (1 << 20))
        parts = meter_pass(model, SHAPE)
    one_copy = 4 * 500 * SHAPE.num_rows * SHAPE.response_tokens
    assert whole.kept - parts.kept > 0.9 * one_copy
    assert whole.peak - parts.peak > one_copy


def test_adapters_keep_no_gradient_of_the_model():
    with outlined(shapes(), ModelConfig(lora=LoRAConfig(rank=2), dtype="bfloat16")) as model:
        assert model.model.embed_tokens.weight.dtype == torch.bfloat16
        assert meter_pass(model, SHAPE).kept > 0
        assert model.model.embed_tokens.weight.grad is None


def test_layers_that_differ_are_all_run():
    assert layers_alike(tiny_model("qwen2")) is not None
    assert layers_alike(tiny_model("gemma2")) is None  # Every other one has a window.
    assert layers_alike(tiny_model("gpt2")) is None
    assert meter_pass(tiny_model("gemma2"), SHAPE).kept > 0


def test_a_phase_is_its_own_parts_and_what_is_always_there():
    parts = (
        MemoryPart("weights", 10, "always"),
        MemoryPart("gradients", 5, "learning"),
        MemoryPart("activations", 6, "learning"),
        MemoryPart("cache", 7, "sampling"),
    )
    estimate = MemoryEstimate(parts)
    assert estimate.total("learning") == 21
    assert estimate.total("sampling") == 17
    assert (estimate.worst_phase, estimate.peak) == ("learning", 21)

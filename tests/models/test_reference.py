"""The reference of a divergence in little memory is the model that it was copied from."""

from types import SimpleNamespace

import pytest
import torch
from builders import make_step
from tiny_models import tiny_model

from declutch.config.policy import LoRAConfig, ModelConfig, ReferenceConfig
from declutch.learner.probe import probe
from declutch.models.precision import compute_dtype, set_compute_dtype
from declutch.models.reference import at_work, copy_reference

STEPS = [make_step(prompt=(1, 2, 3), response=(4, 5, index)) for index in range(6)]
ARCHITECTURES = ("qwen2", "llama", "gemma2", "gpt2")


def read(model):
    return torch.cat(probe(model, STEPS, 1.0, 100, 0))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_a_frozen_copy(name):
    model = tiny_model(name)
    reference = copy_reference(model, ReferenceConfig())
    assert torch.equal(read(reference), read(model))
    before = read(reference)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert torch.equal(read(reference), before)
    assert not any(parameter.requires_grad for parameter in reference.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_matrices_that_are_rounded_in_any_case_are_kept_rounded(name):
    model = tiny_model(name)
    set_compute_dtype(model, torch.bfloat16)
    reference = copy_reference(model, ReferenceConfig())
    assert torch.equal(read(reference), read(model))
    assert compute_dtype(reference) == torch.bfloat16
    kept, full = (sum(p.nbytes for p in each.parameters()) for each in (reference, model))
    assert kept < full or name == "gpt2"  # Its layers are none of the usual linear ones.


def test_its_arithmetic_may_be_another_than_the_models():
    model = tiny_model("llama")
    coarse = copy_reference(model, ReferenceConfig(dtype="bfloat16"))
    assert coarse.lm_head.weight.dtype == torch.bfloat16
    assert 0 < float((read(coarse) - read(model)).abs().max()) < 0.5
    exact = read(model)
    set_compute_dtype(model, torch.bfloat16)
    assert torch.equal(read(copy_reference(model, ReferenceConfig(dtype="float32"))), exact)


def test_a_tied_read_out_stays_one_with_the_embeddings():
    model = tiny_model("qwen2")
    set_compute_dtype(model, torch.bfloat16)
    reference = copy_reference(model, ReferenceConfig())
    assert reference.lm_head.weight is reference.model.embed_tokens.weight
    assert reference.lm_head.weight.dtype == torch.float32


def test_it_is_on_the_models_device_for_its_passes_alone():
    moves = []
    reference = SimpleNamespace(device=torch.device("cpu"), to=moves.append)
    with at_work(reference, torch.device("cuda")):
        assert moves == [torch.device("cuda")]
    assert moves == [torch.device("cuda"), torch.device("cpu")]
    for home, model in (("cpu", "cpu"), ("cuda:1", "cuda:0")):
        with at_work(SimpleNamespace(device=torch.device(home)), torch.device(model)):
            pass


def test_lora_needs_none():
    with pytest.raises(ValueError, match=r"switched off"):
        ModelConfig(lora=LoRAConfig(rank=2), reference=ReferenceConfig(device="cpu"))

"""What can be trained at all; bfloat16 arithmetic trains weights in single precision."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import tiny_model

from declutch.cold_start.examples import Example
from declutch.cold_start.sft import Trainee, train_sft
from declutch.config.algorithm import OptimizerConfig
from declutch.config.policy import SFTConfig
from declutch.ground.errors import UserError
from declutch.learner.optimizer import _find_8bit, build_optimizer
from declutch.models.precision import set_compute_dtype

V = 24


def make_examples(count=40):
    draw = torch.Generator().manual_seed(0)
    prompts = [torch.randint(1, V, (5,), generator=draw) for _ in range(count)]
    # The response repeats the prompt's last two tokens: something to be learned.
    return [Example(prompt, prompt[-2:]) for prompt in prompts]


def fine_tune(model, **changes):
    config = SFTConfig(**{"epochs": 6, "lr": 3e-3, "batch_tokens": 64, **changes})
    return train_sft(Trainee(model, 0), make_examples(), config, torch.Generator().manual_seed(1))


def test_a_model_without_a_trainable_parameter_is_refused():
    model = tiny_model().requires_grad_(False)
    with pytest.raises(UserError, match=r"Qwen2ForCausalLM has no parameter"):
        build_optimizer(model, OptimizerConfig())
    with pytest.raises(UserError, match=r"Qwen2ForCausalLM has no parameter"):
        fine_tune(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_too_coarse_for_a_step_are_refused(dtype):
    model = tiny_model().to(dtype)
    with pytest.raises(UserError, match=r"would not move"):
        build_optimizer(model, OptimizerConfig())
    with pytest.raises(UserError, match=r"would not move"):
        fine_tune(model)


def test_coarse_weights_that_are_frozen_are_no_matter():
    model = tiny_model().to(torch.bfloat16).requires_grad_(False)
    norm = model.model.norm.weight
    norm.data = norm.data.float()
    norm.requires_grad_(True)
    optimizer = build_optimizer(model, OptimizerConfig())
    assert [p for group in optimizer.param_groups for p in group["params"]] == [norm]


def test_arithmetic_in_bfloat16_moves_every_weight_at_the_papers_rate():
    exact, coarse = tiny_model(), tiny_model()
    set_compute_dtype(coarse, torch.bfloat16)
    start = [parameter.detach().clone() for parameter in exact.parameters()]
    for model in (exact, coarse):
        fine_tune(model, lr=1e-6, epochs=1)
    for name, weights in (("exact", exact), ("coarse", coarse)):
        pairs = zip(weights.parameters(), start, strict=True)
        moved = torch.cat([(p.detach() != before).flatten() for p, before in pairs])
        assert moved.float().mean() > 0.9, name


def test_arithmetic_in_bfloat16_learns_as_well():
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny_model()
        set_compute_dtype(model, dtype)
        losses[dtype] = fine_tune(model, lr=1e-2, epochs=12).loss
    assert losses[torch.float32] < 1.0
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], abs=0.1)


@pytest.mark.parametrize("kind", ["adamw_8bit", "paged_adamw_8bit"])
def test_moments_of_8_bits_are_refused_without_what_they_need(kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    wanted = rf"{kind} needs a model on CUDA \(it is on cpu\) and the package bitsandbytes"
    with pytest.raises(UserError, match=wanted):
        build_optimizer(tiny_model(), OptimizerConfig(type=kind))


def test_moments_of_8_bits_are_those_of_bitsandbytes(monkeypatch):
    """Stands in for CUDA and for the package, which nothing here has."""
    package = SimpleNamespace(AdamW8bit=object(), PagedAdamW8bit=object())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.import_module", lambda name: package)
    on_cuda = torch.device("cuda")
    assert _find_8bit("adamw_8bit", on_cuda) is package.AdamW8bit
    assert _find_8bit("paged_adamw_8bit", on_cuda) is package.PagedAdamW8bit

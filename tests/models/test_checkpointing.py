"""Gradient checkpointing is really on, and leaves the gradient as it is."""

import pytest
import torch
from builders import make_samples
from tiny_models import tiny_model

from declutch.cold_start.examples import Example
from declutch.cold_start.sft import Trainee, train_sft
from declutch.config.algorithm import LossConfig
from declutch.config.policy import SFTConfig
from declutch.ground.errors import UserError
from declutch.learner.critic import build_critic
from declutch.learner.lesson import PassSettings, PolicyLesson
from declutch.models.checkpointing import checkpointing, enable_checkpointing, is_checkpointing

V = 24
ARCHITECTURES = ("qwen2", "llama", "gemma2", "cohere", "granite", "gpt2")


def learn(model, samples):
    """Bytes that were saved for the gradient, and the gradient."""
    settings = PassSettings(LossConfig(kl_coef=0.0), 1.0, 400, 0, 24)
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    model.zero_grad(set_to_none=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        PolicyLesson(samples, settings).backward(model.eval(), range(len(samples)))
    return sum(sizes), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_less_is_saved_and_the_gradient_is_the_same(name):
    model = tiny_model(name, V, **({} if name == "gpt2" else {"attention_dropout": 0.5}))
    samples = make_samples(12, V, copies=4, masked=False, reference=False)
    before, gradient = learn(model, samples)
    enable_checkpointing(model)
    after, again = learn(model, samples)
    assert after < 0.75 * before
    for one, other in zip(gradient, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert not any(module.training for module in model.modules())


def test_it_is_off_outside_of_learning():
    model = tiny_model("qwen2", V)
    enable_checkpointing(model)
    assert not is_checkpointing(model)
    with checkpointing(model):
        assert is_checkpointing(model)
        assert not model.training
    assert not is_checkpointing(model)
    assert not is_checkpointing(build_critic(model))


def test_a_model_that_cannot_says_so():
    with pytest.raises(UserError, match="gradient_checkpointing"):
        enable_checkpointing(torch.nn.Linear(2, 2))


def test_a_cold_start_learns_the_same():
    examples = [Example(torch.randint(0, V, (6,)), torch.randint(0, V, (3,))) for _ in range(8)]
    weights = []
    for is_on in (False, True):
        model = tiny_model("qwen2", V)
        if is_on:
            enable_checkpointing(model)
        train_sft(Trainee(model, 0), examples, SFTConfig(epochs=1, lr=1e-3), torch.Generator())
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*weights, atol=1e-6, rtol=0)

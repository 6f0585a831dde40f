"""An update's gradient against finite differences of the loss by loops, in double precision."""

from dataclasses import replace

import learner_oracle as oracle
import pytest
import torch
from builders import make_samples, update_on
from tiny_models import tiny_model
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.learner.update import Randomness
from declutch.records import Role

V, TEMPERATURE, MAX_TOKENS = 24, 0.9, 11
ONE_STEP = OptimizerConfig(
    mini_batch=None, num_mini_batches=1, micro_batch_tokens=40, grad_clip=1e9
)
SIZE = 1e-6


@pytest.fixture
def model(monkeypatch):
    """A Qwen2 of two layers; its norms, which work in single precision, made to keep double."""

    def forward(self, states):
        scale = torch.rsqrt(states.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * states * scale

    monkeypatch.setattr(Qwen2RMSNorm, "forward", forward)
    model = tiny_model("qwen2", V).double()
    # Its padding token is among the samples' tokens, and gets no gradient as an input.
    model.get_input_embeddings().padding_idx = None
    return model


def without_advantage(samples):
    return [replace(each, advantage=torch.zeros_like(each.advantage)) for each in samples]


AGENT = make_samples(6, V, seed=8, copies=2)
JUDGE = make_samples(4, V, seed=50, role=Role.JUDGE, copies=2)
TERMS = {
    "policy": (AGENT, [], 0.0, 1.0),
    "divergence": (without_advantage(AGENT), [], 0.5, 1.0),
    "judge": (without_advantage(AGENT), JUDGE, 0.0, 1.0),
    "all": (AGENT, JUDGE, 0.05, 0.3),
}


def descend(model, agent, judge, config, weight):
    """What one step of plain descent at rate 1 takes off every parameter."""
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    update_on(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        agent,
        judge,
        config,
        ONE_STEP,
        GCDConfig(weight=weight, max_response_tokens=MAX_TOKENS),
        TEMPERATURE,
        Randomness(torch.Generator(), torch.Generator()),
        max_response_tokens=MAX_TOKENS,
    )
    gradient = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gradient[name] = start[name] - parameter
            parameter.copy_(start[name])
    return gradient


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize("term", TERMS)
def test_every_term_alone_and_all_together(model, term, ratio):
    agent, judge, kl_coef, weight = TERMS[term]
    config = LossConfig(ratio=ratio, kl_coef=kl_coef)

    @torch.no_grad()
    def total():
        value = oracle.minibatch_loss(model, agent, config, TEMPERATURE, MAX_TOKENS)
        if judge:
            part = oracle.minibatch_loss(model, judge, config, TEMPERATURE, MAX_TOKENS)
            value = value + weight * part
        return float(value)

    gradient = descend(model, agent, judge, config, weight)
    draw = torch.Generator().manual_seed(0)
    steepest = 0.0
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        slope = float((gradient[name] * direction).sum())
        with torch.no_grad():
            parameter.add_(SIZE * direction)
            above = total()
            parameter.sub_(2 * SIZE * direction)
            below = total()
            parameter.add_(SIZE * direction)
        assert (above - below) / (2 * SIZE) == pytest.approx(slope, rel=1e-5, abs=1e-7), name
        steepest = max(steepest, abs(slope))
    assert steepest > 1e-2

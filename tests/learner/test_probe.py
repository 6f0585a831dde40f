"""Hidden states and the matrix that makes logits of them."""

import pytest
import torch
from builders import make_step
from tiny_models import tiny_model
from torch import nn

from declutch.ground.errors import UserError
from declutch.learner.probe import probe, probe_hidden, readout_matrix

STEPS = [
    make_step(prompt=(1, 2, 3), response=(4, 5)),
    make_step(prompt=(1, 2, 7), response=()),
    make_step(prompt=(1, 2, 7), response=(6,)),
    make_step(prompt=(9, 8), response=(2, 3, 4)),
]


@pytest.mark.parametrize("budget", [1, 64])
@pytest.mark.parametrize("name", ["qwen2", "llama", "gpt2"])
def test_hidden_states_times_the_readout_are_the_logits(name, budget):
    model = tiny_model(name)
    hidden = probe_hidden(model, STEPS, budget, 0)
    readout = readout_matrix(model)
    assert [len(states) for states in hidden] == [2, 0, 1, 3]
    for step, states, expected in zip(STEPS, hidden, probe(model, STEPS, 2.0, 64, 0), strict=True):
        logprobs = (states @ readout.T / 2.0).log_softmax(-1)
        found = logprobs.gather(1, step.response_ids[:, None])[:, 0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not model.get_output_embeddings()._forward_pre_hooks


@pytest.mark.parametrize("name", ["gemma2", "cohere", "granite"])
def test_logits_that_are_more_than_a_product_are_refused(name):
    model = tiny_model(name)
    with pytest.raises(UserError, match=type(model).__name__):
        readout_matrix(model)


def test_a_bias_is_refused():
    model = tiny_model("llama")
    head = model.get_output_embeddings()
    head.bias = nn.Parameter(torch.linspace(-5, 5, len(head.weight)))
    with pytest.raises(UserError, match="bias"):
        readout_matrix(model)

"""The read-out's gradients against autograd."""

import numpy as np
import torch

from declutch.coupling.theory.readout import (
    Sentence,
    deep_gradient,
    logit_step,
    readout_gradient,
    token_coupling,
)


def test_gradients_are_those_of_autograd():
    draw = np.random.default_rng(0)
    body, readout, inputs = (draw.normal(size=shape) for shape in ((3, 4), (4, 5), (6, 3)))
    tokens = draw.integers(5, size=6)
    sample = Sentence(inputs @ body, tokens)
    weights = [torch.tensor(each, requires_grad=True) for each in (body, readout)]
    logits = torch.tensor(inputs) @ weights[0] @ weights[1]
    logits.log_softmax(-1)[torch.arange(6), torch.tensor(tokens)].sum().backward()
    np.testing.assert_allclose(readout_gradient(readout, sample), weights[1].grad, atol=1e-12)
    whole = torch.cat([each.grad.flatten() for each in weights])
    np.testing.assert_allclose(deep_gradient(body, readout, inputs, sample), whole, atol=1e-12)


def test_the_sum_over_tokens_is_the_inner_product_of_gradients():
    draw = np.random.default_rng(1)
    readout = draw.normal(size=(4, 5))
    first, second = (
        Sentence(draw.normal(size=(length, 4)), draw.integers(5, size=length)) for length in (2, 3)
    )
    gradients = [readout_gradient(readout, each) for each in (first, second)]
    np.testing.assert_allclose(
        token_coupling(readout, first, second), (gradients[0] * gradients[1]).sum(), atol=1e-12
    )


def test_a_step_that_takes_no_side_moves_nothing():
    readout, feature = np.zeros((2, 3)), np.array([1.0, 2.0])
    moved = logit_step(readout, feature, np.array([0, 1]), np.array([1.0, -1.0]), 0.1)
    np.testing.assert_allclose(moved, [0.5, -0.5, 0], atol=1e-15)

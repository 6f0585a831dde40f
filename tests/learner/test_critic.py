"""The critic: what it predicts, what it learns, and that it is a model of its own."""

import pytest
import torch
from builders import make_step
from tiny_models import tiny_model

from declutch.config.algorithm import OptimizerConfig
from declutch.learner.critic import (
    explained_variance,
    make_critic,
    update_critic,
    value_loss,
    value_samples,
)
from declutch.learner.pack import pack
from declutch.learner.probe import probe_values

STEPS = [
    make_step(prompt=(1, 2, 3), response=(4, 5)),
    make_step(prompt=(1, 2, 7), response=(6,)),
    make_step(prompt=(9, 8), response=(2, 3, 4), allowed=((2,), None, (4, 5))),
]
OPT = OptimizerConfig(lr=1e-2, mini_batch=None, num_mini_batches=1)


def critic_with_values(seed=0):
    critic = make_critic(tiny_model(seed=seed), OPT, 1e-2)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(seed)
        head = critic.model.get_output_embeddings()
        head.weight.copy_(torch.randn(head.weight.shape, generator=draw))
        head.bias.fill_(0.5)
    return critic


def plain_hidden(model, step):
    """Hidden states that predict a step's tokens, from the model's own output."""
    ids = torch.cat([step.prompt_ids, step.response_ids])
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids[None]).last_hidden_state[0]
    return hidden[step.prompt_ids.numel() - 1 : -1]


def test_a_fresh_critic_expects_nothing():
    critic = make_critic(tiny_model(), OPT, 1e-2)
    assert [v.tolist() for v in probe_values(critic.model, STEPS, 64, 0)] == [
        [0.0, 0.0],
        [0.0],
        [0.0, 0.0, 0.0],
    ]


@pytest.mark.parametrize("budget", [1, 64])
def test_values_are_read_before_each_token(budget):
    critic = critic_with_values()
    head = critic.model.get_output_embeddings()
    for step, found in zip(STEPS, probe_values(critic.model, STEPS, budget, 0), strict=True):
        with torch.no_grad():
            expected = head(plain_hidden(critic.model, step))[:, 0]
        assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_clipped_value_loss_by_hand():
    # Value 1.0, old 0.0, return 0.5, clip 0.2: clipped to 0.2, errors 0.25 and 0.09: the larger.
    # Value 0.1 is inside: 0.16 both times. Halved, over two tokens: (0.25 + 0.16) / 4.
    samples = value_samples(
        [make_step(response=(3, 4))], [torch.zeros(2)], [torch.tensor([0.5, 0.5])]
    )
    (batch,) = pack(samples, 64, 0, 24)
    values = torch.tensor([1.0, 0.1], requires_grad=True)
    loss = value_loss(values, batch, 0.2, 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.1025)
    assert values.grad.tolist() == pytest.approx([0.25, -0.2])


def test_a_value_that_moved_too_far_towards_its_return_is_not_pulled():
    samples = value_samples([make_step()], [torch.zeros(1)], [torch.tensor([1.0])])
    (batch,) = pack(samples, 64, 0, 24)
    values = torch.tensor([0.4], requires_grad=True)
    value_loss(values, batch, 0.2, 1.0).backward()
    assert values.grad.tolist() == [0.0]


def test_explained_variance_by_hand():
    returns = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((4,), 0.5, dtype=torch.float64), returns) == 0.0
    assert explained_variance(1 - returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(4, dtype=torch.float64)) is None


def test_it_learns_which_prompt_wins_and_leaves_the_policy_alone():
    policy = tiny_model()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    critic = make_critic(policy, OPT, 3e-2)
    returns = [torch.ones(2), torch.zeros(1), torch.zeros(3)]
    stats = []
    for _ in range(30):
        values = probe_values(critic.model, STEPS, 64, 0)
        samples = value_samples(STEPS, values, returns)
        generator = torch.Generator().manual_seed(0)
        stats.append(update_critic(critic, samples, 0.5, OPT, generator, 0))
    assert stats[0].explained_variance == pytest.approx(0.0, abs=1e-6)
    assert stats[0].loss == pytest.approx(2 / 12)
    assert stats[-1].explained_variance > 0.9
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_micro_batches_change_nothing():
    found = []
    for budget in (1, 64):
        critic = critic_with_values()
        values = probe_values(critic.model, STEPS, 64, 0)
        samples = value_samples(STEPS, values, [torch.ones(2), torch.zeros(1), torch.ones(3)])
        opt = OPT.model_copy(update={"micro_batch_tokens": budget})
        update_critic(critic, samples, 0.5, opt, torch.Generator().manual_seed(0), 0)
        found.append(critic.model.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], atol=1e-5, rtol=1e-4)

"""Advantages against verl's, on the same random returns."""

import pytest
import torch
from builders import make_episode, make_step

from declutch.config.algorithm import GRPOConfig, PPOConfig, RLOOConfig
from declutch.credit.grpo import grpo
from declutch.credit.ppo import gae, ppo, value_targets
from declutch.credit.rloo import rloo
from declutch.credit.segments import find_segments
from declutch.credit.table import build_table
from declutch.records import Probes

pytestmark = pytest.mark.peers
SIZES = (2, 8, 3, 5, 2)
SEEDS = range(4)


def draw_plan(seed, sizes=SIZES, max_steps=1):
    """(group, rewards of its steps) of every episode, the groups mixed."""
    draw = torch.Generator().manual_seed(seed)
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    groups = groups[torch.randperm(len(groups), generator=draw)].tolist()
    lengths = torch.randint(1, max_steps + 1, (len(groups),), generator=draw).tolist()
    return [
        (group, torch.randn(length, generator=draw).tolist())
        for group, length in zip(groups, lengths, strict=True)
    ]


def tabulate(plan):
    table, _ = build_table([make_episode(group, rewards) for group, rewards in plan])
    return table


def ask(function, scores, groups, **options):
    """One advantage per sample from a function of verl: the first of each response's tokens.

    Responses have one to four tokens and the reward at the last.
    """
    length = torch.arange(len(scores)) % 4 + 1
    mask = (torch.arange(4) < length[:, None]).float()
    rewards = torch.zeros(len(scores), 4)
    rewards[torch.arange(len(scores)), length - 1] = scores
    advantage, _ = function(rewards, mask, groups.numpy(), **options)
    assert torch.equal(advantage, advantage[:, :1] * mask)
    return advantage[:, 0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("std_norm", [True, False])
@pytest.mark.parametrize("version", ["grpo", "grpo_vectorized"])
def test_grpo_of_one_step_episodes(core_algos, seed, std_norm, version):
    table = tabulate(draw_plan(seed))
    expected = ask(
        core_algos.get_adv_estimator_fn(version),
        table.reward,
        table.group,
        norm_adv_by_std_in_grpo=std_norm,
    )
    found = grpo(table, None, GRPOConfig(std_norm=std_norm))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("std_norm", [True, False])
def test_grpo_over_steps_that_each_carry_the_episodes_return(core_algos, seed, std_norm):
    plan = draw_plan(seed, max_steps=5)
    table = tabulate(plan)
    returns = torch.tensor([sum(rewards) for _, rewards in plan])[table.episode]
    expected = ask(
        core_algos.compute_grpo_outcome_advantage,
        returns,
        table.group,
        norm_adv_by_std_in_grpo=std_norm,
    )
    config = GRPOConfig(std_norm=std_norm, group_stats="steps")
    torch.testing.assert_close(grpo(table, None, config), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", ["rloo", "rloo_vectorized"])
def test_rloo_of_one_step_episodes(core_algos, seed, version):
    table = tabulate(draw_plan(seed))
    expected = ask(core_algos.get_adv_estimator_fn(version), table.reward, table.group)
    found = rloo(table, None, RLOOConfig())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("version", ["grpo", "grpo_vectorized", "rloo", "rloo_vectorized"])
def test_a_singleton_gets_zero_here_and_mostly_its_return_there(core_algos, version):
    plan = [(0, [0.7]), (1, [0.2]), (1, [0.4])]
    table = tabulate(plan)
    theirs = ask(core_algos.get_adv_estimator_fn(version), table.reward, table.group)
    ours = (
        rloo(table, None, RLOOConfig())
        if version.startswith("rloo")
        else grpo(table, None, GRPOConfig())
    )
    assert float(ours[0]) == 0.0
    assert float(theirs[0]) == pytest.approx(0.0 if version == "rloo_vectorized" else 0.7)
    torch.testing.assert_close(ours[1:], theirs[1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.99, 0.95), (0.5, 0.0)])
def test_generalised_advantage_estimation(core_algos, seed, gamma, lam):
    draw = torch.Generator().manual_seed(seed)
    size = torch.randint(1, 9, (20,), generator=draw)
    mask = (torch.arange(8) < size[:, None]).float()
    values, rewards = torch.randn(2, 20, 8, generator=draw) * mask
    whitened, returns = core_algos.compute_gae_advantage_return(rewards, values, mask, gamma, lam)
    is_token = mask.bool()
    segments = find_segments(torch.arange(20).repeat_interleave(size))
    advantage, targets = gae(values[is_token], rewards[is_token], segments, gamma, lam)
    torch.testing.assert_close(targets, returns[is_token], rtol=1e-5, atol=1e-5)
    plain = (returns - values)[is_token]  # verl gives the advantage itself only whitened
    torch.testing.assert_close(advantage, plain, rtol=1e-5, atol=1e-5)
    ours = (advantage - advantage.mean()) / advantage.std()
    torch.testing.assert_close(ours, whitened[is_token], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_ppo_of_steps_that_carry_the_episodes_return(core_algos, seed):
    plan = draw_plan(seed, max_steps=5)
    episodes = [
        make_episode(
            group, [], steps=[make_step(r, response=range(1 + n)) for n, r in enumerate(rs)]
        )
        for group, rs in plan
    ]
    table, _ = build_table(episodes)
    mask = (torch.arange(5) < table.num_tokens[:, None]).float()
    values = torch.randn(len(table), 5, generator=torch.Generator().manual_seed(seed)) * mask
    rewards = torch.zeros(len(table), 5)
    returns = torch.tensor([sum(rewards) for _, rewards in plan])[table.episode]
    rewards[torch.arange(len(table)), table.num_tokens - 1] = returns
    expected, targets = core_algos.compute_gae_advantage_return(rewards, values, mask, 0.9, 0.8)
    is_token = mask.bool()
    tokens = torch.zeros(int(table.num_tokens.sum()), dtype=torch.int64)
    probes = Probes(tokens, values=values[is_token])
    config = PPOConfig(gamma=0.9, lam=0.8)
    found = ppo(table, probes, config)
    torch.testing.assert_close(found, expected[is_token], rtol=1e-5, atol=1e-5)
    found = value_targets(table, probes, config)
    torch.testing.assert_close(found, targets[is_token], rtol=1e-5, atol=1e-5)

import statistics

import credit_oracle as oracle
import pytest
import torch
from builders import make_action, make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.config.algorithm import PPOConfig
from declutch.credit.ppo import gae, ppo, value_targets
from declutch.credit.registry import agent_advantage
from declutch.credit.segments import find_segments
from declutch.credit.table import build_table, mean_over_tokens
from declutch.records import Probes

VALUE = st.floats(-3, 3, width=32)
PLAN = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.tuples(VALUE, st.lists(VALUE, max_size=4)), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=5,
)
SHARE = st.sampled_from([0.0, 0.5, 0.95, 1.0])


def make(group, steps):
    """An episode of steps (reward, values of its tokens)."""
    return make_episode(group, [], steps=[make_step(r, response=v) for r, v in steps])


def tabulate(plan):
    plan = sorted(plan, key=lambda item: item[0])
    table, _ = build_table([make(group, steps) for group, steps in plan])
    values = [value for _, steps in plan for _, tokens in steps for value in tokens]
    column = torch.tensor(values, dtype=torch.float32)
    return plan, table, Probes(torch.zeros(len(values), dtype=torch.int64), values=column)


def test_by_hand():
    # One step of an episode that returns 1: values 0.5 and 0.25, gamma 0.5, lambda 0.5.
    # Deltas: 0.5 * 0.25 - 0.5 = -0.375 and 1 - 0.25 = 0.75; the first sums 0.25 * 0.75 to its own.
    _, table, probes = tabulate([(0, [(1.0, [0.5, 0.25])])])
    config = PPOConfig(gamma=0.5, lam=0.5, whiten=False)
    assert ppo(table, probes, config).tolist() == [-0.1875, 0.75]
    assert value_targets(table, probes, config).tolist() == [0.3125, 1.0]


def test_whitening_by_hand():
    # Two tokens of advantages 0.5 and 1: their mean is 0.75, their unbiased std the root of 1/8.
    _, table, probes = tabulate([(0, [(1.0, [0.5]), (0.0, [0.0])])])
    std = (1 / 8) ** 0.5
    expected = [-0.25 / (std + 1e-6), 0.25 / (std + 1e-6)]
    assert ppo(table, probes, PPOConfig(whiten=True)).tolist() == pytest.approx(expected)
    _, table, probes = tabulate([(0, [(1.0, [0.5])])])
    assert ppo(table, probes, PPOConfig(whiten=True)).tolist() == [0.0]


def test_every_step_is_given_the_return_of_its_episode():
    _, table, probes = tabulate([(0, [(0.0, [0.25]), (1.0, [0.5, 0.0])]), (0, [(0.0, [0.25])])])
    found = ppo(table, probes, PPOConfig(whiten=False))
    assert found.tolist() == [0.75, 0.5, 1.0, -0.25]
    assert value_targets(table, probes, PPOConfig()).tolist() == [1.0, 1.0, 1.0, 0.0]


def test_a_step_without_tokens_takes_nothing_and_gives_nothing():
    _, table, probes = tabulate([(0, [(0.0, []), (1.0, [0.5])])])
    assert ppo(table, probes, PPOConfig(whiten=False)).tolist() == [0.5]


def test_whitened_advantages_by_hand():
    _, table, probes = tabulate([(0, [(1.0, [0.0])]), (0, [(0.0, [0.0])]), (1, [(0.5, [0.0])])])
    assert ppo(table, probes, PPOConfig()).tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-5)


def test_equal_advantages_are_0_when_whitened():
    _, table, probes = tabulate([(0, [(1.0, [0.5])]), (0, [(1.0, [0.5])])])
    assert ppo(table, probes, PPOConfig()).tolist() == [0.0, 0.0]


def test_the_penalty_is_taken_off_every_token_of_an_invalid_step():
    steps = [make_step(1.0, response=(5, 6), action=make_action(is_valid=False)), make_step(0.0)]
    table, _ = build_table([make_episode(0, [], steps=steps)])
    probes = Probes(torch.tensor([5, 6, 3]), values=torch.tensor([0.5, 0.5, 0.5]))
    found = agent_advantage(table, probes, PPOConfig(whiten=False), 0.1)
    assert found.tolist() == pytest.approx([0.4, 0.4, 0.5])
    assert mean_over_tokens(table, found).tolist() == pytest.approx([0.4, 0.5])


def test_values_are_required():
    _, table, _ = tabulate([(0, [(1.0, [0.0])])])
    with pytest.raises(ValueError, match="critic"):
        ppo(table, None, PPOConfig())


@given(PLAN, SHARE, SHARE)
def test_equals_the_loop_version(plan, gamma, lam):
    plan, table, probes = tabulate(plan)
    config = PPOConfig(gamma=gamma, lam=lam, whiten=False)
    expected = []
    for _, steps in plan:
        total = sum(reward for reward, _ in steps)
        for _, tokens in steps:
            rewards = [0.0] * (len(tokens) - 1) + [total] if tokens else []
            expected += oracle.gae(tokens, rewards, gamma, lam)
    found = ppo(table, probes, config)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    whitened = ppo(table, probes, PPOConfig(gamma=gamma, lam=lam))
    if len(set(expected)) > 1 and statistics.stdev(expected) > 1e-2:
        mean, std = statistics.fmean(expected), statistics.stdev(expected)
        assert whitened.tolist() == pytest.approx([(x - mean) / std for x in expected], abs=2e-3)


@given(PLAN, SHARE, SHARE)
def test_targets_are_values_plus_advantages(plan, gamma, lam):
    _, table, probes = tabulate(plan)
    config = PPOConfig(gamma=gamma, lam=lam, whiten=False)
    total = ppo(table, probes, config) + probes.values
    targets = value_targets(table, probes, config)
    assert targets.tolist() == pytest.approx(total.tolist(), abs=1e-4)


@given(st.lists(VALUE, min_size=1, max_size=6))
def test_with_gamma_and_lambda_1_the_values_telescope(values):
    column = torch.tensor(values)
    rewards = torch.zeros(len(values))
    rewards[-1] = 1.0
    segments = find_segments(torch.zeros(len(values), dtype=torch.int64))
    advantage, returns = gae(column, rewards, segments, 1.0, 1.0)
    assert returns.tolist() == pytest.approx([1.0] * len(values), abs=1e-5)
    assert advantage.tolist() == pytest.approx([1.0 - value for value in values], abs=1e-5)

import credit_oracle as oracle
import pytest
import torch
from builders import make_action, make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.config.algorithm import GRPOConfig
from declutch.credit.grpo import grpo
from declutch.credit.registry import agent_advantage
from declutch.credit.table import build_table, mean_over_tokens

REWARD = st.sampled_from([0.0, 0.0, 1.0, 0.25, -2.0])
PLAN = st.lists(
    st.tuples(st.integers(0, 3), st.lists(REWARD, min_size=1, max_size=4)), min_size=1, max_size=10
)
CONFIG = st.builds(
    GRPOConfig, std_norm=st.booleans(), group_stats=st.sampled_from(["episodes", "steps"])
)


def advantages(plan, config=None):
    """Advantage of each episode's first step, in the order of `plan`."""
    table, _ = build_table([make_episode(group, rewards) for group, rewards in plan])
    found = grpo(table, None, config or GRPOConfig())
    by_episode = dict(zip(table.episode.tolist(), found.tolist(), strict=True))
    return [by_episode[index] for index in range(len(plan))]


def test_one_win_in_four_by_hand():
    # Mean 1/4, squared deviations 9/16 + 3/16 = 3/4, unbiased variance 1/4, std 1/2.
    found = advantages([(0, [0.0, 1.0]), (0, [0.0]), (0, [0.0, 0.0, 0.0]), (0, [0.0])])
    assert found == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)


def test_every_step_of_an_episode_gets_the_same():
    table, _ = build_table([make_episode(0, [0.0, 0.0, 1.0]), make_episode(0, [0.0, 0.0])])
    found = grpo(table, None, GRPOConfig()).tolist()
    assert found == pytest.approx([0.70711] * 3 + [-0.70711] * 2, abs=1e-5)


def test_without_std_it_is_the_plain_difference():
    plan = [(0, [0.0, 1.0]), (0, [0.0]), (1, [0.5]), (1, [0.25])]
    assert advantages(plan, GRPOConfig(std_norm=False)) == [0.5, -0.5, 0.125, -0.125]


def test_statistics_over_steps_weigh_long_episodes():
    # Returns 1 (one step) and 0 (three steps): mean over steps 1/4, std over steps 1/2.
    plan = [(0, [1.0]), (0, [0.0, 0.0, 0.0])]
    config = GRPOConfig(group_stats="steps")
    assert advantages(plan, config) == pytest.approx([1.5, -0.5], abs=1e-5)


@pytest.mark.parametrize("group_stats", ["episodes", "steps"])
def test_groups_without_contrast_get_exactly_zero(group_stats):
    # 0.1 + 0.2 is not representable: a mean by plain division would leave a rest to blow up.
    config = GRPOConfig(group_stats=group_stats)
    equal = [(0, [0.1, 0.2]), (0, [0.1, 0.2]), (0, [0.1, 0.2])]
    assert advantages(equal, config) == [0.0, 0.0, 0.0]
    assert advantages([(0, [0.7, 0.1])], config) == [0.0]


def test_all_failed_group_gets_the_penalty_and_nothing_else():
    steps = [make_step(), make_step(action=make_action(is_valid=False))]
    table, _ = build_table([make_episode(0, [], steps=steps), make_episode(0, [0.0])])
    found = mean_over_tokens(table, agent_advantage(table, None, GRPOConfig(), 0.1))
    assert found.tolist() == pytest.approx([0.0, -0.1, 0.0])


def test_penalty_comes_off_after_normalisation():
    steps = [make_step(action=make_action(is_valid=False)), make_step(1.0)]
    table, _ = build_table([make_episode(0, [], steps=steps), make_episode(0, [0.0])])
    found = mean_over_tokens(table, agent_advantage(table, None, GRPOConfig(), 0.1))
    assert found.tolist() == pytest.approx([0.60711, 0.70711, -0.70711], abs=1e-5)


@given(PLAN, CONFIG)
def test_equals_the_loop_version(plan, config):
    plan = sorted(plan, key=lambda item: item[0])
    table, _ = build_table([make_episode(group, rewards) for group, rewards in plan])
    expected = oracle.grpo(plan, config.std_norm, config.group_stats)
    assert grpo(table, None, config).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(PLAN, CONFIG, st.randoms(use_true_random=False))
def test_order_of_episodes_does_not_matter(plan, config, random):
    order = list(range(len(plan)))
    random.shuffle(order)
    shuffled = advantages([plan[index] for index in order], config)
    assert shuffled == pytest.approx(
        [advantages(plan, config)[index] for index in order], rel=1e-5, abs=1e-6
    )


@given(PLAN, CONFIG, st.permutations(range(4)))
def test_names_of_groups_do_not_matter(plan, config, names):
    renamed = [(10 * names[group] + 3, rewards) for group, rewards in plan]
    assert advantages(renamed, config) == pytest.approx(advantages(plan, config), abs=1e-6)


@given(PLAN, CONFIG, st.sampled_from([-3.0, 0.5, 8.0]), st.sampled_from([0.5, 4.0, 10.0]))
def test_shifted_and_scaled_returns(plan, config, shift, scale):
    changed = [
        (group, [scale * rewards[0] + shift, *[scale * reward for reward in rewards[1:]]])
        for group, rewards in plan
    ]
    factor = 1.0 if config.std_norm else scale
    expected = [factor * value for value in advantages(plan, config)]
    assert advantages(changed, config) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(PLAN)
def test_advantages_of_a_group_sum_to_zero_over_its_episodes(plan):
    totals = {}
    for (group, _), value in zip(plan, advantages(plan), strict=True):
        totals[group] = totals.get(group, 0.0) + value
    assert list(totals.values()) == pytest.approx([0.0] * len(totals), abs=1e-4)


def test_empty_table():
    table, _ = build_table([])
    assert grpo(table, None, GRPOConfig()).shape == torch.Size([0])

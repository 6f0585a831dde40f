import credit_oracle as oracle
import pytest
import torch
from builders import make_episode
from hypothesis import given
from hypothesis import strategies as st

from declutch.config.algorithm import RLOOConfig
from declutch.credit.rloo import rloo
from declutch.credit.table import build_table

REWARD = st.sampled_from([0.0, 0.0, 1.0, 0.25, -2.0])
PLAN = st.lists(
    st.tuples(st.integers(0, 3), st.lists(REWARD, min_size=1, max_size=4)), min_size=1, max_size=10
)
STATS = st.sampled_from(["episodes", "steps"])


def advantages(plan, group_stats="episodes"):
    """Advantage of each episode's first step, in the order of `plan`."""
    table, _ = build_table([make_episode(group, rewards) for group, rewards in plan])
    found = rloo(table, None, RLOOConfig(group_stats=group_stats))
    by_episode = dict(zip(table.episode.tolist(), found.tolist(), strict=True))
    return [by_episode[index] for index in range(len(plan))]


def test_one_win_in_four_by_hand():
    # The winner's others have mean 0, a loser's others 1/3.
    found = advantages([(0, [0.0, 1.0]), (0, [0.0]), (0, [0.0, 0.0, 0.0]), (0, [0.0])])
    assert found == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])


def test_over_steps_the_others_weigh_by_their_length():
    # Others of the last episode: return 1 in one step, 0 in three, so 1/4 over steps.
    plan = [(0, [1.0]), (0, [0.0, 0.0, 0.0]), (0, [0.0])]
    assert advantages(plan, "steps") == pytest.approx([1.0, -1 / 2, -1 / 4])


@pytest.mark.parametrize("group_stats", ["episodes", "steps"])
def test_groups_without_contrast_and_singletons_get_exactly_zero(group_stats):
    equal = [(0, [0.1, 0.2]), (0, [0.1, 0.2]), (0, [0.1, 0.2])]
    assert advantages(equal, group_stats) == [0.0, 0.0, 0.0]
    assert advantages([(0, [0.7, 0.1])], group_stats) == [0.0]


@given(PLAN, STATS)
def test_equals_the_loop_version(plan, group_stats):
    plan = sorted(plan, key=lambda item: item[0])
    table, _ = build_table([make_episode(group, rewards) for group, rewards in plan])
    found = rloo(table, None, RLOOConfig(group_stats=group_stats)).tolist()
    assert found == pytest.approx(oracle.rloo(plan, group_stats), rel=1e-4, abs=1e-5)


@given(PLAN, STATS, st.randoms(use_true_random=False), st.permutations(range(4)))
def test_order_of_episodes_and_names_of_groups_do_not_matter(plan, group_stats, random, names):
    order = list(range(len(plan)))
    random.shuffle(order)
    shuffled = [(10 * names[plan[index][0]] + 3, plan[index][1]) for index in order]
    original = advantages(plan, group_stats)
    expected = [original[index] for index in order]
    assert advantages(shuffled, group_stats) == pytest.approx(expected, abs=1e-5)


@given(PLAN, STATS, st.sampled_from([-3.0, 0.5, 8.0]), st.sampled_from([0.5, 4.0]))
def test_a_shift_does_nothing_and_a_scale_scales(plan, group_stats, shift, scale):
    changed = [
        (group, [scale * rewards[0] + shift, *[scale * reward for reward in rewards[1:]]])
        for group, rewards in plan
    ]
    expected = [scale * value for value in advantages(plan, group_stats)]
    assert advantages(changed, group_stats) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_empty_table():
    table, _ = build_table([])
    assert rloo(table, None, RLOOConfig()).shape == torch.Size([0])

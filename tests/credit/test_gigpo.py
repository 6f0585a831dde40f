import credit_oracle as oracle
import pytest
import torch
from builders import make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.config.algorithm import GiGPOConfig
from declutch.credit.gigpo import gigpo
from declutch.credit.table import build_table

REWARD = st.sampled_from([0.0, 0.0, 1.0, 0.25, -2.0])
STEP = st.tuples(REWARD, st.sampled_from("abc"))
PLAN = st.lists(
    st.tuples(st.integers(0, 2), st.lists(STEP, min_size=1, max_size=5)), min_size=1, max_size=8
)
CONFIG = st.builds(
    GiGPOConfig,
    mode=st.sampled_from(["mean_norm", "mean_std_norm"]),
    gamma=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    step_weight=st.sampled_from([0.0, 0.5, 1.0]),
    group_stats=st.sampled_from(["episodes", "steps"]),
)


def make(group, steps):
    return make_episode(group, [], steps=[make_step(reward, seen) for reward, seen in steps])


def advantages(plan, config=None):
    """Advantages of each episode's steps, in the order of `plan`."""
    table, _ = build_table([make(group, steps) for group, steps in plan])
    found = gigpo(table, None, config or GiGPOConfig())
    return [found[table.episode == index].tolist() for index in range(len(plan))]


def test_two_episodes_by_hand():
    # To come: 0.95 at a, 1 at b; all 0 in the other. Anchor a has 0.95, 0, 0 with mean 0.31667,
    # since the second episode meets it twice; b and c are met once.
    won = (0, [(0.0, "a"), (1.0, "b")])
    lost = (0, [(0.0, "a"), (0.0, "a"), (0.0, "c")])
    first, second = advantages([won, lost])
    assert first == pytest.approx([0.5 + 0.63333, 0.5], abs=1e-4)
    assert second == pytest.approx([-0.5 - 0.31667, -0.5 - 0.31667, -0.5], abs=1e-4)


def test_both_terms_are_divided_or_neither():
    # Returns 1 and 0: std 0.70711, for the episodes as for anchor a.
    plan = [(0, [(1.0, "a")]), (0, [(0.0, "a")])]
    plain = advantages(plan, GiGPOConfig(mode="mean_norm"))
    divided = advantages(plan, GiGPOConfig(mode="mean_std_norm"))
    assert plain == [[1.0], [-1.0]]
    assert [value for (value,) in divided] == pytest.approx([1.41421, -1.41421], abs=1e-4)


def test_an_observation_of_another_group_is_another_anchor():
    plan = [(0, [(1.0, "a")]), (1, [(0.0, "a")])]
    assert advantages(plan) == [[0.0], [0.0]]


def test_without_the_step_term_it_is_dr_grpo():
    plan = [(0, [(0.0, "a"), (1.0, "a")]), (0, [(0.0, "a")])]
    assert advantages(plan, GiGPOConfig(step_weight=0.0)) == [[0.5, 0.5], [-0.5]]


@given(PLAN, CONFIG)
def test_equals_the_loop_version(plan, config):
    plan = sorted(plan, key=lambda item: item[0])
    table, _ = build_table([make(group, steps) for group, steps in plan])
    columns = [(group, [r for r, _ in steps], [o for _, o in steps]) for group, steps in plan]
    expected = oracle.gigpo(
        columns,
        config.gamma,
        config.step_weight,
        config.mode == "mean_std_norm",
        config.group_stats,
    )
    found = gigpo(table, None, config).tolist()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(PLAN, CONFIG, st.randoms(use_true_random=False), st.permutations(range(3)))
def test_order_of_episodes_and_names_do_not_matter(plan, config, random, names):
    order = list(range(len(plan)))
    random.shuffle(order)
    renamed = [
        (
            5 * names[plan[index][0]] + 1,
            [(reward, f"room {seen}") for reward, seen in plan[index][1]],
        )
        for index in order
    ]
    original = advantages(plan, config)
    for found, index in zip(advantages(renamed, config), order, strict=True):
        assert found == pytest.approx(original[index], abs=1e-5)


def test_empty_table():
    table, _ = build_table([])
    assert gigpo(table, None, GiGPOConfig()).shape == torch.Size([0])

import credit_oracle as oracle
import pytest
import torch
from builders import make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.config.algorithm import HGPOConfig
from declutch.credit.hgpo import hgpo
from declutch.credit.table import build_table

REWARD = st.sampled_from([0.0, 0.0, 1.0, 0.25, -2.0])
STEP = st.tuples(REWARD, st.sampled_from("ab"))
PLAN = st.lists(
    st.tuples(st.integers(0, 2), st.lists(STEP, min_size=1, max_size=6)), min_size=1, max_size=8
)
CONFIG = st.builds(
    HGPOConfig,
    mode=st.sampled_from(["mean_norm", "mean_std_norm"]),
    gamma=st.sampled_from([0.0, 0.5, 1.0]),
    history_length=st.integers(0, 4),
    length_weight=st.sampled_from([0.0, 1.0, 2.0]),
)


def make(group, steps):
    return make_episode(group, [], steps=[make_step(reward, seen) for reward, seen in steps])


def advantages(plan, config=None):
    """Advantages of each episode's steps, in the order of `plan`."""
    table, _ = build_table([make(group, steps) for group, steps in plan])
    found = hgpo(table, None, config or HGPOConfig())
    return [found[table.episode == index].tolist() for index in range(len(plan))]


def test_three_episodes_by_hand():
    # Without a discount the returns are 1, 1 in the first episode and 0, 0 in the others. At b the
    # mean of 1, 0, 0 is 1/3; with the a before it, which the third lacks, that of 1 and 0 is 1/2.
    won = (0, [(0.0, "a"), (1.0, "b")])
    lost = (0, [(0.0, "a"), (0.0, "b")])
    elsewhere = (0, [(0.0, "c"), (0.0, "b")])
    first, second, third = advantages([won, lost, elsewhere], HGPOConfig(gamma=1.0))
    assert first == pytest.approx([0.5, (2 * 2 / 3 + 3 * 1 / 2) / 5], abs=1e-5)
    assert second == pytest.approx([-0.5, (2 * -1 / 3 + 3 * -1 / 2) / 5], abs=1e-5)
    # The third stands alone with c and with c, b: neither counts, and only b alone does.
    assert third == pytest.approx([0.0, -1 / 3], abs=1e-5)


def test_a_history_counts_for_more_the_longer_it_is():
    plan = [(0, [(0.0, "a"), (1.0, "b")]), (0, [(0.0, "a"), (0.0, "b")]), (0, [(0.0, "b")])]
    (_, alike), *_ = advantages(plan, HGPOConfig(gamma=1.0, length_weight=0.0))
    (_, longer), *_ = advantages(plan, HGPOConfig(gamma=1.0, length_weight=9.0))
    assert alike == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-5)
    assert abs(longer - 1 / 2) < abs(alike - 1 / 2)


def test_divided_by_the_deviation_of_the_population():
    # Returns 1 and 0: mean .5, and .5 from it on average, so that the advantage is 1.
    plan = [(0, [(1.0, "a")]), (0, [(0.0, "a")])]
    divided = advantages(plan, HGPOConfig(mode="mean_std_norm"))
    assert [value for (value,) in divided] == pytest.approx([1.0, -1.0], abs=1e-4)


def test_histories_do_not_cross_episodes_or_groups():
    plan = [(0, [(0.0, "x"), (1.0, "a")]), (0, [(0.0, "a"), (0.0, "a")]), (1, [(0.5, "a")])]
    found = advantages(plan, HGPOConfig(gamma=0.0, history_length=1))
    # At a: 1, 0, 0. Nobody else has x, a; and a, a is met once.
    assert found[0] == pytest.approx([0.0, 2 / 3], abs=1e-5)
    assert found[1] == pytest.approx([-1 / 3, -1 / 3], abs=1e-5)
    assert found[2] == [0.0]


@given(PLAN, CONFIG)
def test_agrees_with_the_loops(plan, config):
    episodes = sorted(
        (
            (group, [reward for reward, _ in steps], [seen for _, seen in steps])
            for group, steps in plan
        ),
        key=lambda episode: episode[0],
    )
    table, _ = build_table(
        [make(group, list(zip(*parts, strict=True))) for group, *parts in episodes]
    )
    expected = oracle.hgpo(
        episodes,
        config.gamma,
        config.history_length,
        config.mode == "mean_std_norm",
        config.length_weight,
    )
    assert torch.allclose(
        hgpo(table, None, config), torch.tensor(expected).float(), atol=1e-5, rtol=1e-5
    )

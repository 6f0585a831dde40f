import credit_oracle as oracle
import pytest
import torch
from builders import make_action, make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.config.algorithm import GRPOConfig, RLVMRConfig
from declutch.credit.grpo import grpo
from declutch.credit.registry import agent_advantage
from declutch.credit.rlvmr import meta_reward, rlvmr
from declutch.credit.table import build_table
from declutch.records import Outcome

STEP = st.tuples(
    st.sampled_from(["planning", "explore", "reflection", "monitor", "", "think"]),
    st.sampled_from("abc"),
    st.sampled_from([True, True, False]),
    st.booleans(),
)
# Won or not, the reward of the last step, the steps.
PLAY = st.tuples(
    st.booleans(), st.sampled_from([0.0, 1.0, 0.25]), st.lists(STEP, min_size=1, max_size=6)
)
PLAN = st.lists(st.tuples(st.integers(0, 2), PLAY), min_size=1, max_size=8)
CONFIG = st.builds(
    RLVMRConfig,
    combine=st.sampled_from(["mix", "sum"]),
    alpha=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    step_weight=st.sampled_from([0.0, 0.5, 2.0]),
    group_stats=st.sampled_from(["episodes", "steps"]),
)
ALONE = RLVMRConfig(alpha=0.0)
"""The step term and nothing else."""


def rewards_of(play):
    _, last, steps = play
    return [0.0] * (len(steps) - 1) + [last]


def make(group, play):
    is_won, _, steps = play
    made = [
        make_step(reward, action=make_action(action, tag, is_valid, is_admissible))
        for reward, (tag, action, is_valid, is_admissible) in zip(
            rewards_of(play), steps, strict=True
        )
    ]
    return make_episode(group, [], Outcome.WON if is_won else Outcome.FAILED, steps=made)


def table_of(plan):
    return build_table([make(group, play) for group, play in plan])[0]


def advantages(plan, config=None):
    """Advantages of each episode's steps, in the order of `plan`."""
    table = table_of(plan)
    found = rlvmr(table, None, config or RLVMRConfig())
    return [found[table.episode == index].tolist() for index in range(len(plan))]


def done(tag, action, is_valid=True, is_admissible=True):
    return (tag, action, is_valid, is_admissible)


def earned(*steps, is_won=False):
    return meta_reward(table_of([(0, (is_won, 0.0, list(steps)))])).tolist()


def test_two_episodes_by_hand():
    # Returns 1 and 0: episode terms +-0.70711. Planning earns 1 and 0, which are the same again.
    # Exploring earns 1 (a), 0 (a again) and 1 (b): mean 2/3, std 0.57735, so 0.57735 and -1.15470.
    won = (0, (True, 1.0, [done("planning", "x"), done("explore", "a"), done("explore", "a")]))
    lost = (0, (False, 0.0, [done("planning", "x"), done("explore", "b"), done("monitor", "b")]))
    first, second = advantages([won, lost])
    assert first == pytest.approx([0.70711, 0.64223, -0.22380], abs=1e-4)
    assert second == pytest.approx([-0.70711, -0.06488, -0.35355], abs=1e-4)


def test_the_published_form_adds_the_step_term():
    plan = [
        (0, (True, 1.0, [done("planning", "x"), done("monitor", "y")])),
        (0, (False, 0.0, [done("planning", "x")])),
    ]
    first, second = advantages(plan, RLVMRConfig(combine="sum", step_weight=2.0))
    assert first == pytest.approx([3 * 0.70711, 0.70711], abs=1e-4)
    assert second == pytest.approx([-3 * 0.70711], abs=1e-4)


def test_planning_earns_where_the_episode_is_won():
    assert earned(done("planning", "a"), done("planning", "a"), is_won=True) == [1, 1]
    assert earned(done("planning", "a"), done("planning", "b")) == [0, 0]


def test_exploring_earns_the_first_time():
    # Whoever took the action, in whatever way of reasoning; unless that response was invalid.
    steps = [done("explore", "a"), done("explore", "a"), done("monitor", "b"), done("explore", "b")]
    assert earned(*steps) == [1, 0, 0, 0]
    assert earned(done("explore", "a", is_valid=False), done("explore", "a")) == [0, 1]
    assert earned(done("explore", "a", is_admissible=False), done("explore", "a")) == [1, 0]


def test_an_action_of_another_episode_is_new():
    plan = [(0, (False, 0.0, [done("explore", "a")]))] * 2
    assert meta_reward(table_of(plan)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("before", "action", "reward"),
    [
        (done("monitor", "a"), "b", 0),
        (done("monitor", "a", is_valid=False), "b", 1),
        (done("monitor", "a", is_admissible=False), "b", 1),
        (done("monitor", "a", is_admissible=False), "a", 0),
        (done("", "", is_valid=False, is_admissible=False), "a", 1),
    ],
)
def test_reflecting_earns_with_another_action_after_a_failure(before, action, reward):
    assert earned(before, done("reflection", action)) == [0, reward]


def test_an_episodes_first_step_cannot_reflect():
    failed = (0, (False, 0.0, [done("monitor", "a", is_valid=False)]))
    first = (0, (False, 0.0, [done("reflection", "b")]))
    assert meta_reward(table_of([failed, first])).tolist() == [0, 0]


def test_an_invalid_format_earns_nothing_but_is_compared():
    steps = [done("planning", "a"), done("planning", "b", is_valid=False)]
    assert earned(*steps, is_won=True) == [1, 0]
    ((good, bad),) = advantages([(0, (True, 1.0, steps))], ALONE)
    assert (good, bad) == pytest.approx((0.70711, -0.70711), abs=1e-4)


def test_singletons_equal_rewards_and_no_tag_get_exactly_zero():
    steps = [done("planning", "a"), done("explore", "b"), done("", "c"), done("monitor", "d")]
    assert advantages([(0, (True, 1.0, steps))], ALONE) == [[0.0] * 4]
    equal = [(0, (True, 1.0, [done("planning", "a")] * 3)), (0, (True, 1.0, steps[:1]))]
    assert advantages(equal, ALONE) == [[0.0] * 3, [0.0]]


def test_tags_of_other_groups_are_not_compared():
    won, lost = (True, 1.0, [done("planning", "a")]), (False, 0.0, [done("planning", "a")])
    assert advantages([(0, won), (1, lost)], ALONE) == [[0.0], [0.0]]
    # The numbers of neighbouring groups and tags do not run into each other.
    reflection = (False, 0.0, [done("monitor", "a", False), done("reflection", "b")])
    plan = [(0, reflection), (1, (False, 0.0, [done("", "a"), done("", "b")]))]
    assert advantages(plan, ALONE) == [[0.0, 0.0], [0.0, 0.0]]


def test_the_format_penalty_comes_off_afterwards():
    plan = [(0, (False, 0.0, [done("", "", False, False), done("reflection", "a")]))] * 2
    table = table_of(plan)
    found = agent_advantage(table, None, RLVMRConfig(), 0.1)
    assert found.tolist() == pytest.approx([-0.1, 0.0, -0.1, 0.0])


@given(PLAN, CONFIG)
def test_equals_the_loop_version(plan, config):
    plan = sorted(plan, key=lambda item: item[0])
    columns = [(group, play[0], rewards_of(play), play[2]) for group, play in plan]
    expected = oracle.rlvmr(
        columns, config.combine, config.alpha, config.step_weight, config.group_stats
    )
    found = rlvmr(table_of(plan), None, config).tolist()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(PLAN, CONFIG, st.randoms(use_true_random=False), st.permutations(range(3)))
def test_order_of_episodes_and_names_do_not_matter(plan, config, random, names):
    order = list(range(len(plan)))
    random.shuffle(order)
    renamed = [
        (
            5 * names[group] + 1,
            (won, last, [(tag, f"go to {a}", valid, able) for tag, a, valid, able in steps]),
        )
        for group, (won, last, steps) in (plan[index] for index in order)
    ]
    original = advantages(plan, config)
    for found, index in zip(advantages(renamed, config), order, strict=True):
        assert found == pytest.approx(original[index], abs=1e-5)


@given(PLAN, CONFIG, st.sampled_from([-3.0, 0.5, 8.0]))
def test_a_constant_on_all_returns_of_a_group_changes_nothing(plan, config, shift):
    moved = [
        (group, (won, last + shift if group == 0 else last, steps))
        for group, (won, last, steps) in plan
    ]
    for found, expected in zip(advantages(moved, config), advantages(plan, config), strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(PLAN, st.sampled_from(["episodes", "steps"]))
def test_without_the_step_term_it_is_grpo(plan, group_stats):
    table = table_of(plan)
    expected = grpo(table, None, GRPOConfig(group_stats=group_stats)).tolist()
    mixed = RLVMRConfig(alpha=1.0, group_stats=group_stats)
    added = RLVMRConfig(combine="sum", step_weight=0.0, group_stats=group_stats)
    for config in (mixed, added):
        assert rlvmr(table, None, config).tolist() == pytest.approx(expected, abs=1e-6)


@given(PLAN)
def test_the_step_terms_of_a_tag_sum_to_zero_in_its_group(plan):
    table = table_of(plan)
    step_term = rlvmr(table, None, ALONE)
    for group in table.group.unique():
        for tag in range(4):
            chosen = (table.group == group) & (table.tag == tag)
            assert float(step_term[chosen].sum()) == pytest.approx(0.0, abs=1e-4)


def test_empty_table():
    table, _ = build_table([])
    assert rlvmr(table, None, RLVMRConfig()).shape == torch.Size([0])


def test_what_is_new_does_not_depend_on_episodes_that_were_left_out():
    # Four episodes, of which the middle two broke: three steps, and an episode of index 3. The
    # first explores "a" and "b", the last "a", all for the first time in their episodes.
    first = make(0, (False, 0.0, [done("explore", "a"), done("explore", "b")]))
    broken = make_episode(0, [], Outcome.ENV_ERROR, steps=[make_step()])
    last = make(0, (False, 0.0, [done("explore", "a")]))
    table, _ = build_table([first, broken, broken, last])
    assert table.episode.tolist() == [0, 0, 3]
    assert meta_reward(table).tolist() == [1.0, 1.0, 1.0]
    again = make(0, (False, 0.0, [done("explore", "a"), done("explore", "a")]))
    assert meta_reward(build_table([again, broken, broken, last])[0]).tolist() == [1.0, 0.0, 1.0]

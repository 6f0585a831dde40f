import pytest
import torch
from builders import make_action, make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.credit.table import build_table, mean_over_tokens, spread_to_tokens, step_of_token
from declutch.records import Outcome


def test_columns_of_a_hand_made_iteration():
    won = make_episode(
        7,
        [],
        Outcome.WON,
        [
            make_step(0.0, "start", make_action("go to desk 1", "planning"), response=(4, 5)),
            make_step(1.0, "desk", make_action("take pen", "explore"), response=(4, 5, 6)),
        ],
    )
    failed = make_episode(
        7,
        [],
        Outcome.TIMED_OUT,
        [make_step(0.0, "start", make_action("", "", is_valid=False, is_admissible=False))],
    )
    other = make_episode(
        3, [], Outcome.FAILED, [make_step(0.5, "start", make_action("go to desk 1", "planning"))]
    )
    table, steps = build_table([won, other, failed])
    assert table.group.tolist() == [3, 7, 7, 7]
    assert table.episode.tolist() == [1, 0, 0, 2]  # indices into what was given
    assert table.position.tolist() == [0, 0, 1, 0]
    assert table.anchor.tolist() == [0, 1, 2, 1]  # "start" of another group is another anchor
    assert table.action.tolist() == [0, 0, 1, 2]
    assert table.tag.tolist() == [0, 0, 1, -1]
    assert table.reward.tolist() == [0.5, 0.0, 1.0, 0.0]
    assert table.is_valid.tolist() == [True, True, True, False]
    assert table.is_admissible.tolist() == [True, True, True, False]
    assert table.is_won.tolist() == [False, True, True, False]
    assert table.num_tokens.tolist() == [1, 2, 3, 1]
    assert steps == (other.steps[0], *won.steps, failed.steps[0])


def test_tags_have_fixed_numbers_and_others_none():
    tags = ["monitor", "think", "planning", "reflection", "", "explore"]
    steps = [make_step(action=make_action(tag=tag)) for tag in tags]
    table, _ = build_table([make_episode(0, [], steps=steps)])
    assert table.tag.tolist() == [3, -1, 0, 2, -1, 1]


def test_environment_errors_are_left_out_and_keep_their_index():
    broken = make_episode(0, [0.0, 0.0], Outcome.ENV_ERROR)
    table, steps = build_table([broken, make_episode(0, [1.0], Outcome.WON)])
    assert len(table) == len(steps) == 1
    assert table.episode.tolist() == [1]


@pytest.mark.parametrize("episodes", [[], [make_episode(0, [], Outcome.ENV_ERROR)]])
def test_nothing_to_train_on_gives_an_empty_table(episodes):
    table, steps = build_table(episodes)
    assert len(table) == 0
    assert steps == ()
    assert table.reward.dtype == torch.float32
    assert table.is_valid.dtype == torch.bool


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=4),
        ),
        max_size=8,
    )
)
def test_ids_agree_with_the_texts_they_stand_for(plan):
    episodes = [
        make_episode(
            group, [], steps=[make_step(0.0, seen, make_action(done)) for seen, done in steps]
        )
        for group, steps in plan
    ]
    table, steps = build_table(episodes)
    keys = list(
        zip(table.group.tolist(), table.episode.tolist(), table.position.tolist(), strict=True)
    )
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) == sum(len(steps) for _, steps in plan)
    for row, (group, episode, position) in enumerate(keys):
        assert episodes[episode].group == group
        assert episodes[episode].steps[position] is steps[row]
    for left in range(len(steps)):
        for right in range(left):
            same_place = steps[left].observation == steps[right].observation
            same_group = keys[left][0] == keys[right][0]
            assert (table.anchor[left] == table.anchor[right]) == (same_place and same_group)
            same_action = steps[left].action.text == steps[right].action.text
            assert (table.action[left] == table.action[right]) == same_action


SEEN = ["on the desk 1, you see a mug 1.", "on the desk 1, you see a mug 2.", "you see nothing"]


@pytest.mark.parametrize(
    ("similarity", "anchors"), [(1.0, [0, 1, 2, 3]), (0.9, [0, 0, 1, 2]), (0.01, [0, 0, 0, 1])]
)
def test_observations_of_a_group_that_are_alike_share_an_anchor(similarity, anchors):
    steps = [make_step(observation=text) for text in SEEN]
    other = make_episode(1, [], steps=[make_step(observation=SEEN[1])])
    table, _ = build_table([make_episode(0, [], steps=steps), other], similarity)
    assert table.anchor.tolist() == anchors


def test_likeness_is_to_the_first_of_an_anchor_not_to_its_latest():
    # Neighbours share 9 of 10 letters, the ends 8 of 10.
    steps = [make_step(observation=text) for text in ("abcdefghij", "abcdefghiX", "abcdefghYX")]
    table, _ = build_table([make_episode(0, [], steps=steps)], 0.85)
    assert table.anchor.tolist() == [0, 0, 1]


def test_what_is_alike_to_a_follower_alone_begins_an_anchor_of_its_own_group_once():
    # The third is unlike the first and founds an anchor; the fourth belongs to the third.
    texts = ("abcdefghij", "abcdefghiX", "abcdefghYX", "abcdefgZYX")
    table, _ = build_table(
        [make_episode(0, [], steps=[make_step(observation=text) for text in texts])], 0.85
    )
    assert table.anchor.tolist() == [0, 0, 1, 1]


def test_exactly_the_asked_likeness_is_enough():
    # Every bound of the ratio of "a" and "abc" is 2 · 1 / (1 + 3).
    steps = [make_step(observation=text) for text in ("a", "abc")]
    episodes = [make_episode(0, [], steps=steps)]
    assert build_table(episodes, 0.5)[0].anchor.tolist() == [0, 0]
    assert build_table(episodes, 0.51)[0].anchor.tolist() == [0, 1]


def test_letters_that_are_common_in_long_texts_count_for_their_likeness():
    # difflib would leave them out as junk, and call two texts of equal letters unlike.
    long = "ab" * 150
    steps = [make_step(observation=text) for text in (long, long + "c")]
    table, _ = build_table([make_episode(0, [], steps=steps)], 0.95)
    assert table.anchor.tolist() == [0, 0]


def test_each_bound_of_likeness_is_asked():
    # Of equal length, of equal letters, and yet in another order: only the last bound tells.
    for one, two in (("aaaa", "aaaaaaaaaaaa"), ("abcd", "efgh"), ("abcdefgh", "hgfedcba")):
        steps = [make_step(observation=text) for text in (one, two)]
        table, _ = build_table([make_episode(0, [], steps=steps)], 0.9)
        assert table.anchor.tolist() == [0, 1]


def test_steps_and_tokens_by_hand():
    responses = ((4, 5), (), (6,), (7, 8, 9))
    steps = [make_step(response=response) for response in responses]
    table, _ = build_table([make_episode(0, [], steps=steps)])
    assert step_of_token(table).tolist() == [0, 0, 2, 3, 3, 3]
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert spread_to_tokens(table, values).tolist() == [1, 1, 3, 4, 4, 4]
    tokens = torch.tensor([1.0, 3.0, 5.0, 1.0, 2.0, 6.0])
    mean = mean_over_tokens(table, tokens)
    assert mean.tolist() == [2.0, 0.0, 5.0, 3.0]
    assert mean.dtype == torch.float32
    nothing, _ = build_table([])
    assert mean_over_tokens(nothing, torch.zeros(0)).tolist() == []

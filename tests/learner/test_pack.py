from dataclasses import replace

import pytest
import torch
from builders import make_samples, make_step
from hypothesis import given
from hypothesis import strategies as st

from declutch.learner.pack import pack
from declutch.learner.samples import build_samples, has_no_gradient
from declutch.records import Role

V = 23
PAD = 22
SHARING = st.sampled_from([None, 10.0, 1e6])


def unpack(batches):
    """step_id -> what a batch says of the sample, read by loops."""
    found = {}
    for batch in batches:
        allowed = {}
        if batch.allowed_mask is not None:
            for row, column, mask in zip(*batch.allowed_mask, strict=True):
                place = (int(row), int(column))
                assert place not in allowed
                allowed[place] = set(mask.nonzero()[:, 0].tolist())
        for row in range(len(batch.input_ids)):
            segments = batch.segment_ids[row]
            shared = (segments == 0).nonzero()[:, 0].tolist()
            for segment in range(1, int(segments.max()) + 1):
                own = (segments == segment).nonzero()[:, 0].tolist()
                columns = [column for column in own if batch.response_mask[row, column]]
                prompt = [*shared, *[column for column in own if column not in columns]]
                assert prompt + columns == sorted(prompt + columns)
                step_id = int(batch.step_id[row, columns[0]])
                assert set(batch.step_id[row, own].tolist()) == {step_id}
                assert step_id not in found
                found[step_id] = {
                    "prompt": batch.input_ids[row, prompt].tolist(),
                    "response": batch.input_ids[row, columns].tolist(),
                    "positions": batch.position_ids[row, prompt + columns].tolist(),
                    "advantage": batch.advantage[row, columns].tolist(),
                    "sample": batch.sample_logprobs[row, columns].tolist(),
                    "old": batch.old_logprobs[row, columns].tolist(),
                    "ref": batch.ref_logprobs[row, columns].tolist(),
                    "role": set(batch.role[row, columns].tolist()),
                    "allowed": [allowed.get((row, column)) for column in columns],
                }
    return found


def expected(sample):
    length = len(sample.response_ids)
    start = len(sample.prompt_ids)
    allowed = sample.allowed_ids or [None] * length
    return {
        "prompt": sample.prompt_ids.tolist(),
        "response": sample.response_ids.tolist(),
        "positions": list(range(start + length)),
        "advantage": sample.advantage.tolist(),
        "sample": sample.sample_logprobs.tolist(),
        "old": sample.old_logprobs.tolist(),
        "ref": sample.ref_logprobs.tolist(),
        "role": {int(sample.role)},
        "allowed": [None if ids is None else set(ids) for ids in allowed],
    }


@given(
    st.integers(0, 12),
    st.integers(0, 10**6),
    st.integers(1, 120),
    st.sampled_from([1, 3, 5]),
    SHARING,
    st.booleans(),
)
def test_every_token_is_there_once_with_what_belongs_to_it(
    count, seed, budget, copies, share, masked
):
    samples = make_samples(count, V - 1, seed, copies=copies, masked=masked)
    batches = pack(samples, budget, PAD, V, share)
    assert unpack(batches) == {sample.step_id: expected(sample) for sample in samples}
    num_response = sum(batch.num_response_tokens for batch in batches)
    assert num_response == sum(len(sample.response_ids) for sample in samples)


@given(st.integers(1, 12), st.integers(0, 10**6), st.integers(1, 120), SHARING)
def test_padding_is_on_the_right_and_weighs_nothing(count, seed, budget, share):
    for batch in pack(make_samples(count, V - 1, seed, copies=3), budget, PAD, V, share):
        is_token = batch.segment_ids >= 0
        length = is_token.sum(dim=1)
        assert torch.equal(is_token, torch.arange(is_token.shape[1]) < length[:, None])
        assert int(length.max()) == is_token.shape[1]
        assert (batch.input_ids[~is_token] == PAD).all()
        assert (batch.step_id[~is_token] == -1).all()
        outside = ~batch.response_mask
        assert (outside | is_token).all()
        for field in (batch.advantage, batch.old_logprobs, batch.ref_logprobs):
            assert (field[outside] == 0).all()


@given(st.integers(1, 12), st.integers(0, 10**6), st.integers(1, 120), SHARING)
def test_budget_holds_but_for_single_long_samples(count, seed, budget, share):
    samples = make_samples(count, V - 1, seed, copies=3)
    for batch in pack(samples, budget, PAD, V, share):
        num_samples = len(batch.step_id[batch.response_mask].unique())
        assert batch.input_ids.numel() <= budget or num_samples == 1


def test_lengths_are_sorted_so_that_padding_is_small():
    samples = make_samples(400, V, seed=1)
    batches = pack(samples, 256, PAD, V)
    num_tokens = sum(sample.num_tokens for sample in samples)
    assert sum(batch.input_ids.numel() for batch in batches) < 1.05 * num_tokens


def rows_of(prompts, break_even, response=(1, 2, 3), budget=1000):
    """(shared tokens, step ids) of each row."""
    steps = [make_step(prompt=prompt, response=response) for prompt in prompts]
    samples = build_samples(steps, torch.zeros(len(steps)), Role.AGENT)
    return [
        (int((batch.segment_ids[row] == 0).sum()), batch.step_id[row][mask].unique().tolist())
        for batch in pack(samples, budget, PAD, V, break_even)
        for row, mask in enumerate(batch.response_mask)
    ]


def test_what_prompts_have_in_common_is_there_once():
    # Ids 0 and 2 share four tokens, 1 and 3 two; nothing is common to all four.
    prompts = [(5, 5, 5, 5, 1), (6, 6, 2), (5, 5, 5, 5, 3), (6, 6)]
    assert rows_of(prompts, 1e9) == [(4, [0, 2]), (2, [1, 3])]
    assert rows_of(prompts, None) == [(5, [0]), (5, [2]), (3, [1]), (2, [3])]
    assert rows_of(prompts, 1e9, budget=11) == [(5, [0]), (5, [2]), (2, [1, 3])]


def test_a_row_grows_only_while_that_saves_work():
    # Twelve shared tokens, three of each response: joining a row of L tokens saves 12 tokens and
    # costs ((L + 3)^2 - L^2 - 15^2) / 36 = (6 L - 216) / 36 in attention: worth it below L = 108.
    many = [tuple(range(12))] * 40
    lengths = [12 + 3 * len(ids) for _, ids in rows_of(many, 36.0)]
    assert lengths == [108, 36]


def test_neighbours_that_agree_further_do_not_stretch_what_all_share():
    assert rows_of([(5, 1), (5, 2, 3), (5, 2, 3, 4)], 1e9) == [(1, [0, 1, 2])]


def test_unlike_prompts_share_nothing():
    assert rows_of([(1, 2), (2, 1)], 1e9) == [(2, [0]), (2, [1])]


def test_a_forbidden_sampled_token_is_refused():
    sample = replace(make_samples(1, V)[0], response_ids=torch.tensor([5, 6]))
    two = torch.zeros(2)
    sample = replace(sample, advantage=two, sample_logprobs=two, old_logprobs=two, ref_logprobs=two)
    pack([replace(sample, allowed_ids=(None, (6, 7)))], 100, PAD, V)
    with pytest.raises(ValueError, match="token 6 was sampled but its action mask forbids it"):
        pack([replace(sample, allowed_ids=(None, (7,)))], 100, PAD, V)


def test_a_missing_reference_cannot_be_read_by_mistake():
    batch = pack(make_samples(1, V, reference=False), 100, PAD, V)[0]
    assert batch.ref_logprobs[batch.response_mask].isnan().all()


def test_samples_of_steps():
    steps = [make_step(prompt=(1, 2), response=(3, 4)), make_step(prompt=(5,), response=(6,))]
    first, second = build_samples(steps, torch.tensor([0.5, -1.0]), Role.JUDGE)
    assert first.advantage.tolist() == [0.5, 0.5]
    assert second.advantage.tolist() == [-1.0]
    assert first.old_logprobs is first.sample_logprobs
    assert (first.step_id, second.step_id) == (0, 1)
    assert first.role is Role.JUDGE
    per_token = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    first, second = build_samples(steps, per_token, Role.AGENT, per_token, per_token)
    assert first.advantage.tolist() == [1.0, 2.0]
    assert second.old_logprobs.tolist() == second.ref_logprobs.tolist() == [3.0]


@pytest.mark.parametrize(
    ("step", "advantages", "message"),
    [
        (make_step(prompt=()), torch.zeros(1), "empty prompt"),
        (make_step(response=(1, 2)), [torch.zeros(3)], "advantage has shape"),
        (make_step(allowed=(None, None)), torch.zeros(1), "2 allowed sets for 1 tokens"),
    ],
)
def test_broken_steps_are_refused(step, advantages, message):
    with pytest.raises(ValueError, match=message):
        build_samples([step], advantages, Role.AGENT)


def test_what_cannot_move_the_policy():
    step = make_step(response=(1, 2))
    flat, half = (
        build_samples([step], [torch.tensor(values)], Role.AGENT)[0]
        for values in ([0.0, 0.0], [0.0, 1.0])
    )
    assert has_no_gradient(flat, kl_coef=0.0)
    assert not has_no_gradient(flat, kl_coef=0.01)
    assert not has_no_gradient(half, kl_coef=0.0)

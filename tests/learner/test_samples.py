"""Samples made of steps by hand, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import make_step

from declutch.learner.samples import Sample, build_samples, has_no_gradient
from declutch.records import Role

STEPS = (
    make_step(prompt=(1, 2, 3), response=(4, 5), allowed=((4, 6), None)),
    make_step(prompt=(7,), response=(8,)),
)


def test_samples_of_steps_by_hand() -> None:
    one, two = build_samples(STEPS, torch.tensor([0.5, -1.0]), Role.AGENT)
    assert (one.step_id, two.step_id) == (0, 1)
    assert one.role is Role.AGENT
    assert one.prompt_ids.tolist() == [1, 2, 3]
    assert one.response_ids.tolist() == [4, 5]
    assert (one.num_tokens, two.num_tokens) == (5, 2)
    assert (one.allowed_ids, two.allowed_ids) == (((4, 6), None), ())
    assert one.advantage.tolist() == [0.5, 0.5]
    assert two.advantage.tolist() == [-1.0]
    # Old log-probabilities are the sampling engine's where none are given.
    assert one.old_logprobs is STEPS[0].sample_logprobs
    assert (one.ref_logprobs, one.old_values, one.returns) == (None, None, None)


def test_given_tensors_take_the_place_of_the_engines() -> None:
    advantages = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    old = [torch.tensor([-0.5, -0.25]), torch.tensor([-2.0])]
    ref = [torch.tensor([-3.0, -4.0]), torch.tensor([-5.0])]
    one, two = build_samples(STEPS, advantages, Role.JUDGE, old, ref, masked=False)
    assert one.role is Role.JUDGE
    assert one.advantage.tolist() == [1.0, 2.0]
    assert (one.old_logprobs, two.old_logprobs) == tuple(old)
    assert (one.ref_logprobs, two.ref_logprobs) == tuple(ref)
    assert one.sample_logprobs is STEPS[0].sample_logprobs
    assert one.allowed_ids == ()


def sample(**changes) -> Sample:
    step = replace(STEPS[0], **{k: v for k, v in changes.items() if hasattr(STEPS[0], k)})
    return build_samples([step], torch.tensor([1.0]), Role.AGENT)[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_ids": torch.zeros(0)}, "step 0 has an empty prompt: nothing predicts"),
        ({"sample_logprobs": torch.zeros(3)}, r"step 0: sample_logprobs has shape \(3,\)"),
        ({"allowed_ids": (None,)}, "step 0: 1 allowed sets for 2 tokens"),
    ],
)
def test_steps_that_do_not_fit_are_refused(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(**changes)
    assert sample(prompt_ids=torch.ones(1)).num_tokens == 3


@pytest.mark.parametrize(
    ("advantages", "old", "ref", "name"),
    [
        ([torch.zeros(3)], None, None, "advantage"),
        ([torch.zeros(2)], [torch.zeros(1)], None, "old_logprobs"),
        ([torch.zeros(2)], None, [torch.zeros(4)], "ref_logprobs"),
    ],
)
def test_tensors_of_another_length_are_refused_by_name(advantages, old, ref, name: str) -> None:
    with pytest.raises(ValueError, match=rf"step 0: {name} has shape .*, its response \(2,\)"):
        build_samples(STEPS[:1], advantages, Role.AGENT, old, ref)


def test_what_cannot_move_the_policy() -> None:
    still = build_samples(STEPS[:1], [torch.zeros(2)], Role.AGENT)[0]
    partly = build_samples(STEPS[:1], [torch.tensor([0.0, 1.0])], Role.AGENT)[0]
    assert has_no_gradient(still, 0.0)
    assert not has_no_gradient(still, 0.1)
    assert not has_no_gradient(still, 1.0)
    assert not has_no_gradient(partly, 0.0)

"""What the learner takes for the old policy's numbers, and how far it lets the sampler be off."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from builders import make_step
from tiny_models import tiny_model

from declutch.config.algorithm import LossConfig
from declutch.config.run import Config
from declutch.learner.optimizer import build_optimizer
from declutch.models.precision import set_compute_dtype
from declutch.records import Role
from declutch.rollout.hf.engine import HFEngine
from declutch.train.learn import EXACT_MISMATCH, OTHER_MISMATCH, Learner

STEPS = [make_step(prompt=(1, 2, 3), response=(4, 5)), make_step(prompt=(1, 2), response=(6,))]


def make_learner(dtype=torch.float32, engine=None, **loss):
    model = tiny_model("qwen2")
    set_compute_dtype(model, dtype)
    config = Config(loss=LossConfig(kl_coef=0.0, **loss))
    policy = SimpleNamespace(model=model, engine=engine or HFEngine(model, 0), pad_id=0)
    optimizer = build_optimizer(model, config.optimizer)
    return Learner(config, None, policy, optimizer, None, None, None)


def is_recomputed(learner):
    lesson = learner._make_lesson(STEPS, torch.ones(2), Role.AGENT)
    pairs = zip(lesson.samples, STEPS, strict=True)
    return not all(torch.equal(s.old_logprobs, step.sample_logprobs) for s, step in pairs)


class Elsewhere:
    """An engine that does not say that its numbers are the learner's."""


@pytest.mark.parametrize(
    ("learner", "expected"),
    [
        (make_learner(), False),
        (make_learner(torch.bfloat16), True),
        (make_learner(engine=Elsewhere()), True),
        (make_learner(recompute_old=True), True),
        (make_learner(torch.bfloat16, recompute_old=False), False),
    ],
)
def test_old_numbers_are_the_learners_own_where_the_samplers_are_others(learner, expected):
    assert is_recomputed(learner) == expected


def test_the_bound_follows_the_arithmetic_or_the_setting():
    assert make_learner()._max_mismatch() == EXACT_MISMATCH
    assert make_learner(torch.bfloat16)._max_mismatch() == OTHER_MISMATCH
    assert make_learner(engine=Elsewhere())._max_mismatch() == OTHER_MISMATCH
    assert make_learner(max_mismatch=0.3)._max_mismatch() == 0.3


def test_numbers_of_coarse_arithmetic_are_within_their_bound():
    learner = make_learner(torch.bfloat16)
    exact = replace(STEPS[0], sample_logprobs=make_learner()._logprobs(tiny_model(), STEPS)[0])
    coarse = learner._logprobs(learner.policy.model, STEPS)[0]
    gap = (exact.sample_logprobs - coarse).abs().mean()
    assert 1e-5 < gap < OTHER_MISMATCH

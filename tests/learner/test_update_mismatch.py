"""Samples that are not the policy's are noticed before anything is learned from them."""

from dataclasses import replace

import pytest
import torch
from builders import make_samples
from tiny_models import tiny_model

from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.ground.errors import UserError
from declutch.learner.lesson import PassSettings, PolicyLesson
from declutch.learner.probe import probe
from declutch.learner.update import Randomness, update
from declutch.records import Role

V = 24


def sampled_by(model, shift=0.0, where=slice(None)):
    """Samples whose log-probabilities are the model's own, moved by `shift` nats in some."""
    samples = make_samples(8, V, masked=False, reference=False)
    exact = [own_logprobs(model, sample) for sample in samples]
    for values in exact[where]:
        values += shift
    return [
        replace(s, sample_logprobs=own, old_logprobs=own)
        for s, own in zip(samples, exact, strict=True)
    ]


def own_logprobs(model, sample):
    from builders import make_step

    step = replace(
        make_step(),
        prompt_ids=sample.prompt_ids,
        response_ids=sample.response_ids,
        sample_logprobs=sample.sample_logprobs,
    )
    return probe(model, [step], 1.0, 4096, 0)[0]


def learn(model, samples, limit, judge=()):
    settings = PassSettings(LossConfig(kl_coef=0.0), 1.0, 64, 0, 24)
    opt = OptimizerConfig(mini_batch=None, num_mini_batches=1)
    return update(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        PolicyLesson(samples, settings),
        PolicyLesson(judge, settings) if judge else None,
        opt,
        GCDConfig(),
        Randomness(torch.Generator(), torch.Generator()),
        limit,
    )


def test_a_mismatch_beyond_the_bound_stops_before_anything_is_learned():
    model = tiny_model("qwen2", V)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(UserError, match=r"update/mismatch_mean.*loss.max_mismatch=0.005"):
        learn(model, sampled_by(model, 0.03), 0.005)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_one_response_far_off_is_noticed_as_well():
    model = tiny_model("qwen2", V)
    with pytest.raises(UserError, match="at most"):
        learn(model, sampled_by(model, 2.0, slice(0, 1)), 0.09)


def test_the_judges_samples_are_watched_too():
    model = tiny_model("qwen2", V)
    judge = [replace(s, role=Role.JUDGE) for s in sampled_by(model, 0.5)]
    with pytest.raises(UserError, match="mismatch"):
        learn(model, sampled_by(model), 0.005, judge)


def test_rounding_is_within_the_bound():
    model = tiny_model("qwen2", V)
    stats = learn(model, sampled_by(model), 0.005)
    assert stats.mismatch_max is not None
    assert stats.mismatch_max < 1e-4

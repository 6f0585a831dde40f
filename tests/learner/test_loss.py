import math
from dataclasses import replace

import learner_oracle as oracle
import pytest
import torch
from builders import make_samples
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_model

from declutch.config.algorithm import LossConfig
from declutch.learner.forward import token_logprobs
from declutch.learner.loss import LossStats, k3_divergence, loss_normalizer, policy_loss
from declutch.learner.pack import pack
from declutch.learner.samples import Sample
from declutch.records import Role

V = 24
AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm")
MAX_TOKENS = 11


def one_token(advantage, old, sample=None, ref=None):
    """A batch of one sample with one response token."""

    def single(value):
        return torch.tensor([value])

    return pack(
        [
            Sample(
                0,
                Role.AGENT,
                torch.tensor([1]),
                torch.tensor([2]),
                (),
                single(advantage),
                single(old if sample is None else sample),
                single(old),
                None if ref is None else single(ref),
            )
        ],
        10,
        0,
        V,
    )[0]


def loss_and_slope(batch, policy, config):
    """Loss, d loss / d log-probability, statistics at one token."""
    logprobs = torch.zeros(1, 2)
    logprobs[0, 1] = policy
    logprobs.requires_grad_()
    loss, stats = policy_loss(logprobs, batch, config, 1.0)
    loss.backward()
    return float(loss.detach()), float(logprobs.grad[0, 1]), stats


NO_KL = LossConfig(kl_coef=0.0, clip_low=0.2, clip_high=0.3)


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "slope", "clipped"),
    [
        (2.0, 1.0, -2.0, -2.0, 0),
        (2.0, 1.25, -2.5, -2.5, 0),  # inside the range
        (2.0, 1.5, -2.6, 0.0, 1),  # 1.3 * 2: no further up
        (2.0, 0.5, -1.0, -1.0, 0),  # a fallen good token is always lifted
        (-2.0, 0.9, 1.8, 1.8, 0),
        (-2.0, 0.5, 1.6, 0.0, 1),  # 0.8 * 2: no further down
        (-2.0, 1.5, 3.0, 3.0, 0),  # a risen bad token is always pushed
        (0.0, 1.5, 0.0, 0.0, 0),
    ],
)
def test_clipping_by_hand(advantage, ratio, loss, slope, clipped):
    batch = one_token(advantage, old=-1.0)
    found = loss_and_slope(batch, -1.0 + math.log(ratio), NO_KL)
    assert found[0] == pytest.approx(loss, abs=1e-5)
    assert found[1] == pytest.approx(slope, abs=1e-5)
    assert found[2].num_clipped == clipped
    assert found[2].num_tokens == 1


@pytest.mark.parametrize(
    ("gap", "weight", "capped"), [(0.0, 1.0, 0), (math.log(1.5), 1.5, 0), (math.log(5), 2.0, 1)]
)
def test_truncated_importance_weight_by_hand(gap, weight, capped):
    batch = one_token(1.0, old=-1.0, sample=-1.0 - gap)
    loss, slope, stats = loss_and_slope(batch, -1.0, NO_KL)
    assert (loss, slope) == pytest.approx((-weight, -weight), abs=1e-5)
    assert stats.num_capped == capped


def test_divergence_by_hand():
    # Policy 1/2, reference 1/4: r = 1/2, k3 = 1/2 - log(1/2) - 1; its slope in log pi is 1 - r.
    batch = one_token(0.0, old=math.log(0.5), ref=math.log(0.25))
    loss, slope, stats = loss_and_slope(batch, math.log(0.5), LossConfig(kl_coef=0.1))
    expected = 0.5 + math.log(2) - 1
    assert loss == pytest.approx(0.1 * expected, abs=1e-6)
    assert slope == pytest.approx(0.1 * 0.5, abs=1e-6)
    assert stats.kl == pytest.approx(expected, abs=1e-6)


@given(st.floats(-60, 0), st.floats(-60, 0))
def test_divergence_is_never_negative_and_never_overflows(policy, reference):
    value = k3_divergence(torch.tensor(policy), torch.tensor(reference))
    assert 0 <= float(value) + 1e-6 < math.inf


def test_a_sequence_is_clipped_as_one_by_hand():
    # Token ratios 1.44 and 1, their geometric mean 1.2: beyond 1.1 for good, not for bad.
    old = torch.tensor([-2.0, -1.0])
    for advantage, loss in [(2.0, -2 * 2.2), (-2.0, 2 * 2.4)]:
        advantages = torch.full((2,), advantage)
        sample = Sample(
            0, Role.AGENT, torch.tensor([1]), torch.tensor([2, 3]), (), advantages, old, old
        )
        batch = pack([sample], 10, 0, V)[0]
        logprobs = torch.tensor([[0.0, -2.0 + math.log(1.44), -1.0]])
        config = LossConfig(ratio="sequence", kl_coef=0.0, clip_high=0.1)
        assert float(policy_loss(logprobs, batch, config, 1.0)[0]) == pytest.approx(loss, abs=1e-5)


def test_huge_ratios_stay_finite():
    loss, slope, _ = loss_and_slope(one_token(-1.0, old=-200.0), -0.1, NO_KL)
    assert math.isfinite(loss)
    assert math.isfinite(slope)


def test_log_ratios_are_cut_at_twenty_either_way():
    """exp(20) is far outside of any clip range; the slope of what is cut is 0."""
    loss, slope, _ = loss_and_slope(one_token(-1.0, old=-200.0), -0.1, NO_KL)
    assert loss == pytest.approx(math.exp(20), rel=1e-5)
    assert slope == 0
    assert loss_and_slope(one_token(-1.0, old=-20.0), -1.0, NO_KL)[0] == pytest.approx(
        math.exp(19), rel=1e-4
    )
    # A fallen good token is lifted however far it fell, by a ratio of exp(-20) at the least.
    loss, slope, _ = loss_and_slope(one_token(1.0, old=-0.1), -200.0, NO_KL)
    assert loss == pytest.approx(-math.exp(-20), rel=1e-4)
    uncapped = LossConfig(kl_coef=0.0, importance_cap=1e12)
    batch = one_token(-1.0, old=-1.0, sample=-200.0)
    assert loss_and_slope(batch, -1.0, uncapped)[0] == pytest.approx(math.exp(20), rel=1e-5)
    far, near = torch.tensor([0.0, -60.0]), torch.tensor([-60.0, 0.0])
    expected = [math.exp(-20) + 20 - 1, math.exp(20) - 20 - 1]
    assert k3_divergence(far, near).tolist() == pytest.approx(expected, rel=1e-5)


def test_statistics_start_at_nothing():
    assert LossStats() == LossStats(num_tokens=0, kl=0.0, num_clipped=0, num_capped=0)


def test_a_divergence_without_a_reference_is_not_silently_zero():
    loss, _, _ = loss_and_slope(one_token(0.0, old=-1.0), -1.0, LossConfig(kl_coef=0.1))
    assert math.isnan(loss)


def off_policy(samples):
    """Old log-probabilities that differ from the sampling engine's."""
    return [
        replace(sample, sample_logprobs=sample.old_logprobs - 0.6 * torch.randn(1).abs())
        for sample in samples
    ]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize("break_even", [None, 1e9])
@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_micro_batches_add_up_to_the_minibatch_loss_of_loops(
    aggregation, ratio, break_even, budget
):
    torch.manual_seed(0)
    model = tiny_model("qwen2", V)
    samples = off_policy(make_samples(10, V, seed=7, copies=2))
    config = LossConfig(ratio=ratio, aggregation=aggregation, kl_coef=0.05, importance_cap=1.5)
    num_tokens = sum(len(sample.response_ids) for sample in samples)
    normalizer = loss_normalizer(num_tokens, len(samples), config, MAX_TOKENS)
    total, clipped, capped = 0.0, 0, 0
    for batch in pack(samples, budget, 0, V, break_even):
        logprobs, _ = token_logprobs(model, batch, 0.9)
        loss, stats = policy_loss(logprobs, batch, config, normalizer)
        total, clipped, capped = (
            total + loss.detach(),
            clipped + stats.num_clipped,
            capped + stats.num_capped,
        )
    expected = oracle.minibatch_loss(model, samples, config, 0.9, MAX_TOKENS)
    assert float(total) == pytest.approx(float(expected.detach()), rel=1e-4, abs=1e-5)
    assert clipped > 0  # the case is not an easy one
    assert capped > 0


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_gradient_equals_finite_differences(aggregation, ratio):
    # GPT-2 keeps double precision throughout; Qwen2 normalises in single precision.
    model = tiny_model("gpt2", V).double()
    samples = make_samples(6, V, seed=8, copies=2)
    config = LossConfig(ratio=ratio, aggregation=aggregation, kl_coef=0.05)
    num_tokens = sum(len(sample.response_ids) for sample in samples)
    normalizer = loss_normalizer(num_tokens, len(samples), config, MAX_TOKENS)

    def evaluate():
        parts = []
        for batch in pack(samples, 60, 0, V, break_even=1e9):
            logprobs, _ = token_logprobs(model, batch, 0.9)
            parts.append(policy_loss(logprobs, batch, config, normalizer)[0])
        return sum(parts)

    evaluate().backward()
    draw = torch.Generator().manual_seed(0)
    size = 1e-6
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        slope = float((parameter.grad * direction).sum())
        with torch.no_grad():
            parameter.add_(size * direction)
            above = float(evaluate())
            parameter.sub_(2 * size * direction)
            below = float(evaluate())
            parameter.add_(size * direction)
        assert (above - below) / (2 * size) == pytest.approx(slope, rel=1e-5, abs=1e-7), name


def test_normalizers():
    def value(aggregation, tokens=12, sequences=3):
        return loss_normalizer(tokens, sequences, LossConfig(aggregation=aggregation), 20)

    assert [value(aggregation) for aggregation in AGGREGATIONS] == [12.0, 3.0, 60.0]
    assert value("token-mean", tokens=0) == 1.0
    assert value("token-mean", tokens=1) == 1.0
    assert [value(aggregation, sequences=0) for aggregation in AGGREGATIONS[1:]] == [1.0, 20.0]
    assert [value(aggregation, sequences=1) for aggregation in AGGREGATIONS[1:]] == [1.0, 20.0]

"""Statistics of an update summed up by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import make_samples

from declutch.learner.loss import LossStats
from declutch.learner.pack import pack
from declutch.learner.update_stats import PartSums, StepStats, summarise

AGENT = PartSums(
    num_samples=4,
    num_skipped=1,
    num_forward_tokens=50,
    num_tokens=20,
    num_clipped=5,
    num_capped=2,
    loss=0.5,
    kl=4.0,
    entropy=30.0,
    mismatch=2.0,
    mismatch_max=0.75,
)
JUDGE = PartSums(num_samples=2, num_tokens=5, loss=3.0, kl=1.0, mismatch=3.0, mismatch_max=1.5)
STEP = StepStats(AGENT, JUDGE, 2.0, 6.0, 0.25, 0.5, 3.0)
ALONE = StepStats(replace(AGENT, loss=1.5, num_tokens=20), None, 4.0, None, 1.0, None, 5.0)


def test_sums_start_at_nothing() -> None:
    counts = dict.fromkeys(("samples", "skipped", "forward_tokens", "tokens"), 0)
    named = {f"num_{name}": count for name, count in counts.items()}
    sums = dict.fromkeys(("loss", "kl", "entropy", "mismatch", "mismatch_max"), 0.0)
    assert PartSums() == PartSums(**named, num_clipped=0, num_capped=0, **sums)


def test_a_micro_batch_is_added_by_hand() -> None:
    batch = pack(make_samples(3, 24, seed=1), 10_000, 0, 24)[0]
    count = int(batch.response_mask.sum())
    logprobs = batch.sample_logprobs + 0.25
    logprobs[batch.response_mask.nonzero()[0].tolist()[0]] -= 1.0
    gap = (logprobs - batch.sample_logprobs)[batch.response_mask].abs()
    assert float(gap.min()) == pytest.approx(0.25, abs=1e-5)
    stats = LossStats(num_tokens=count, kl=2.0, num_clipped=3, num_capped=1)
    added = AGENT.add(batch, torch.tensor(0.25), stats, logprobs, torch.tensor([1.0, 2.0]))
    assert added.num_forward_tokens == 50 + int((batch.segment_ids >= 0).sum())
    assert added.num_tokens == 20 + count
    assert (added.num_clipped, added.num_capped) == (8, 3)
    assert (added.loss, added.kl, added.entropy) == (0.75, 6.0, 33.0)
    assert added.mismatch == pytest.approx(2.0 + float(gap.sum()))
    assert added.mismatch_max == pytest.approx(0.75, abs=1e-5)
    assert (added.num_samples, added.num_skipped) == (4, 1)
    fresh = PartSums().add(batch, torch.tensor(0.0), stats, logprobs, torch.zeros(1))
    assert fresh.mismatch_max == pytest.approx(0.75, abs=1e-5)


def test_a_batch_without_response_has_no_mismatch() -> None:
    batch = pack(make_samples(2, 24, seed=1), 10_000, 0, 24)[0]
    batch = replace(batch, response_mask=torch.zeros_like(batch.response_mask))
    nothing = torch.zeros(0)
    found = PartSums().add(batch, torch.tensor(0.0), LossStats(), batch.sample_logprobs, nothing)
    assert (found.mismatch, found.mismatch_max) == (0.0, 0.0)


def test_an_update_is_summed_up_by_hand() -> None:
    found = summarise([STEP, ALONE], agent_has_kl=True, judge_has_kl=False)
    assert found.num_steps == 2
    assert (found.agent.num_samples, found.agent.num_skipped) == (8, 2)
    assert (found.agent.num_tokens, found.agent.num_forward_tokens) == (40, 100)
    assert (found.agent.loss, found.agent.kl, found.agent.entropy) == (1.0, 0.2, 1.5)
    assert (found.agent.clip_share, found.agent.capped_share) == (0.25, 0.1)
    assert found.agent.grad_norm == 3.0
    assert found.judge is not None
    assert (found.judge.num_samples, found.judge.num_tokens, found.judge.loss) == (2, 5, 3.0)
    assert (found.judge.kl, found.judge.grad_norm) == (None, 6.0)
    assert found.grad_norm == 4.0
    # Means over the steps with a judge; the mismatch is that of both roles in the first step.
    assert (found.cosine, found.judge_scale) == (0.5, 0.25)
    assert found.mismatch_mean == pytest.approx(5.0 / 25)
    assert found.mismatch_max == 1.5


def test_without_a_judge_or_a_token_there_is_nothing_to_average() -> None:
    found = summarise([ALONE, STEP], agent_has_kl=False, judge_has_kl=True)
    assert found.agent.kl is None
    assert found.judge is not None
    assert found.judge.kl == pytest.approx(0.2)
    assert found.mismatch_mean == pytest.approx(0.1)
    assert found.mismatch_max == 0.75
    alone = summarise([ALONE], agent_has_kl=True, judge_has_kl=True)
    assert (alone.judge, alone.cosine, alone.judge_scale) == (None, None, None)
    empty = replace(ALONE, agent=PartSums(num_samples=3, num_skipped=3))
    skipped = summarise([empty], agent_has_kl=True, judge_has_kl=True)
    assert (skipped.agent.kl, skipped.agent.entropy, skipped.agent.clip_share) == (None, None, None)
    assert (skipped.mismatch_mean, skipped.mismatch_max) == (None, None)

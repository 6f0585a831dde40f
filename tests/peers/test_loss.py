"""The policy loss and its gradient against trl's and verl's, on the same random tokens."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from builders import make_samples
from torch.nn.utils.rnn import pad_sequence

from declutch.config.algorithm import LossConfig
from declutch.learner.loss import loss_normalizer, policy_loss
from declutch.learner.pack import pack

pytestmark = pytest.mark.peers
V = 24
MAX_TOKENS = 11
CAP = 1.3
AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm")
CLIPS = [(0.2, 0.2), (0.2, 0.28)]


@pytest.fixture(params=range(3))
def data(request):
    """Samples of several lengths, and log-probabilities of a policy that has moved: f32[N]."""
    draw = torch.Generator().manual_seed(request.param)
    samples = [
        replace(
            sample,
            sample_logprobs=sample.old_logprobs
            + 0.3 * torch.randn(len(sample.response_ids), generator=draw),
        )
        for sample in make_samples(12, V, seed=request.param, masked=False, copies=3)
    ]
    old = torch.cat([sample.old_logprobs for sample in samples])
    policy = old + 0.4 * torch.randn(len(old), generator=draw)
    return samples, policy.requires_grad_()


def ours(data, config):
    """Loss, gradient, and statistics of its parts, by micro-batches."""
    samples, policy = data
    sizes = [len(sample.response_ids) for sample in samples]
    parts = policy.split(sizes)
    normalizer = loss_normalizer(sum(sizes), len(samples), config, MAX_TOKENS)
    total, stats = torch.zeros(()), []
    for batch in pack(samples, 60, 0, V, break_even=1e9):
        step_ids = batch.step_id[batch.response_mask].unique_consecutive().tolist()
        logprobs = torch.zeros(batch.input_ids.shape).masked_scatter(
            batch.response_mask, torch.cat([parts[step_id] for step_id in step_ids])
        )
        loss, part = policy_loss(logprobs, batch, config, normalizer)
        total = total + loss
        stats.append(part)
    return total, torch.autograd.grad(total, policy)[0], stats


def padded(data):
    """[n, T] mask, policy, old, sample and reference log-probabilities, and advantages [n]."""
    samples, policy = data
    sizes = [len(sample.response_ids) for sample in samples]

    def pad(parts):
        return pad_sequence(list(parts), batch_first=True)

    return SimpleNamespace(
        mask=pad(torch.ones(size) for size in sizes),
        policy=pad(policy.split(sizes)),
        old=pad(sample.old_logprobs for sample in samples),
        sample=pad(sample.sample_logprobs for sample in samples),
        ref=pad(sample.ref_logprobs for sample in samples),
        advantage=torch.stack([sample.advantage[0] for sample in samples]),
    )


def trl_loss(trainer, data, config, loss_type):
    """trl's loss, of a trainer that has only what the method reads."""
    grid = padded(data)
    stand_in = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (
            grid.policy,
            torch.zeros_like(grid.mask),
            None,
        ),
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        accelerator=SimpleNamespace(
            num_processes=1, reduce=lambda x, reduction: x, gather=lambda x: x
        ),
        loss_type=loss_type,
        importance_sampling_level=config.ratio,
        epsilon_low=config.clip_low,
        epsilon_high=config.clip_high,
        beta=config.kl_coef,
        max_completion_length=MAX_TOKENS,
        current_gradient_accumulation_steps=1,
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    ids = torch.zeros(grid.mask.shape, dtype=torch.int64)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": grid.mask[:, :1],
        "completion_ids": ids,
        "completion_mask": grid.mask,
        "advantages": grid.advantage,
        "old_per_token_logps": grid.old,
        "ref_per_token_logps": grid.ref,
        "importance_sampling_ratio": (grid.old - grid.sample).exp().clamp(max=CAP),
        "num_items_in_batch": grid.mask.sum(),
    }
    return trainer._compute_loss(stand_in, None, inputs)


def check(data, config, theirs):
    """Both losses and both gradients are the same, and the case is not an easy one."""
    loss, gradient, stats = ours(data, config)
    expected = torch.autograd.grad(theirs, data[1])[0]
    torch.testing.assert_close(loss, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    assert sum(part.num_clipped for part in stats) > 0
    assert sum(part.num_capped for part in stats) > 0 or is_on_policy(data[0])


def is_on_policy(samples):
    return all(torch.equal(sample.sample_logprobs, sample.old_logprobs) for sample in samples)


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize(
    ("aggregation", "loss_type"),
    [
        ("token-mean", "dapo"),
        ("token-mean", "bnpo"),
        ("seq-mean-token-mean", "grpo"),
        ("seq-mean-token-sum-norm", "dr_grpo"),
    ],
)
def test_loss_and_gradient_equal_trl(
    grpo_trainer, data, aggregation, loss_type, ratio, clip, kl_coef
):
    config = LossConfig(
        ratio=ratio,
        clip_low=clip[0],
        clip_high=clip[1],
        aggregation=aggregation,
        kl_coef=kl_coef,
        importance_cap=CAP,
    )
    check(data, config, trl_loss(grpo_trainer, data, config, loss_type))


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_loss_and_gradient_equal_verl(core_algos, data, aggregation, ratio, clip, kl_coef):
    from verl.workers.config import ActorConfig

    if ratio == "sequence":
        # verl differentiates eq. 8 of GSPO, ours is eq. 5 (as trl's): the same where a response's
        # tokens have one weight, so here all have 1.
        samples, policy = data
        data = [replace(each, sample_logprobs=each.old_logprobs) for each in samples], policy
    grid = padded(data)
    config = LossConfig(
        ratio=ratio,
        clip_low=clip[0],
        clip_high=clip[1],
        aggregation=aggregation,
        kl_coef=kl_coef,
        importance_cap=CAP,
    )
    actor = ActorConfig(
        strategy="fsdp",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio_low=clip[0],
        clip_ratio_high=clip[1],
        # verl cuts the loss of a bad token whose ratio is above this; here it never is.
        clip_ratio_c=1e9,
    )
    actor.global_batch_info["loss_scale_factor"] = MAX_TOKENS
    function = core_algos.get_policy_loss_fn("vanilla" if ratio == "token" else "gspo")
    theirs, _ = function(
        grid.old,
        grid.policy,
        grid.advantage[:, None].expand(grid.mask.shape),
        grid.mask,
        aggregation,
        actor,
        (grid.old - grid.sample).exp().clamp(max=CAP),
    )
    divergence = core_algos.kl_penalty(grid.policy, grid.ref, "low_var_kl")
    theirs = theirs + kl_coef * core_algos.agg_loss(
        divergence, grid.mask, aggregation, loss_scale_factor=MAX_TOKENS
    )
    check(data, config, theirs)

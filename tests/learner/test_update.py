import math
from dataclasses import replace

import learner_oracle as oracle
import pytest
import torch
from builders import make_samples, update_on
from tiny_models import tiny_model

from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.ground.errors import UserError
from declutch.learner.optimizer import build_optimizer, set_learning_rate
from declutch.learner.update import Randomness, plan_steps
from declutch.models.meter import MemoryMeter
from declutch.records import Role

V = 24
LOSS = LossConfig(kl_coef=0.02)
NO_KL = LossConfig(kl_coef=0.0)
OPT = OptimizerConfig(lr=1e-2, mini_batch=None, num_mini_batches=3, micro_batch_tokens=64)


def randomness(agent=1, judge=2):
    return Randomness(torch.Generator().manual_seed(agent), torch.Generator().manual_seed(judge))


def agent_samples(count=20, seed=0, **kwargs):
    return make_samples(count, V, seed, **kwargs)


def judge_samples(count=12, seed=50):
    return make_samples(count, V, seed, role=Role.JUDGE, copies=4)


def prompts_of(samples):
    return [sample.prompt_ids for sample in samples]


def train(agent, judge=(), loss=LOSS, opt=OPT, gcd=None, rounds=2, model=None, **kwargs):
    """Parameters by name and statistics after some updates of a fresh model."""
    model = model or tiny_model("qwen2", V)
    optimizer = build_optimizer(model, opt)
    draws = kwargs.pop("randomness", None) or randomness()
    for _ in range(rounds):
        stats = update_on(
            model,
            optimizer,
            agent,
            judge,
            loss,
            opt,
            gcd or GCDConfig(),
            1.0,
            draws,
            **kwargs,
        )
    return {name: p.detach().clone() for name, p in model.named_parameters()}, stats


def same_bits(left, right):
    return all(
        torch.equal(left[name].view(torch.int32), right[name].view(torch.int32)) for name in left
    )


@pytest.mark.parametrize("opt", [OPT, OPT.model_copy(update={"mini_batch": 7, "epochs": 2})])
def test_judging_at_weight_zero_is_plain_grpo_bit_for_bit(opt):
    plain, plain_stats = train(agent_samples(), opt=opt)
    judged, stats = train(agent_samples(), judge_samples(), opt=opt, gcd=GCDConfig(weight=0.0))
    assert same_bits(plain, judged)
    assert stats.judge is not None
    assert stats.judge.grad_norm > 0  # it was measured all the same
    assert stats.agent == plain_stats.agent
    weighted, _ = train(agent_samples(), judge_samples(), opt=opt, gcd=GCDConfig(weight=1.0))
    assert not same_bits(plain, weighted)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, _ = train(agent_samples(), judge_samples())
    again, _ = train(agent_samples(), judge_samples())
    other, _ = train(agent_samples(), judge_samples(), randomness=randomness(agent=9))
    assert same_bits(first, again)
    assert not same_bits(first, other)


def test_gradient_is_the_agents_plus_weight_times_the_judges():
    # One step of plain descent reads the gradient off the parameters.
    one_step = OPT.model_copy(update={"num_mini_batches": 1, "grad_clip": 1e9})

    def gradient(agent, judge, gcd):
        model = tiny_model("qwen2", V)
        start = {name: p.detach().clone() for name, p in model.named_parameters()}
        descent = torch.optim.SGD(model.parameters(), lr=1.0)
        stats = update_on(model, descent, agent, judge, LOSS, one_step, gcd, 1.0, randomness())
        return {n: start[n] - p.detach() for n, p in model.named_parameters()}, stats

    agent, judge = agent_samples(), judge_samples()
    of_agent, _ = gradient(agent, [], GCDConfig())
    of_judge, _ = gradient(judge, [], GCDConfig())
    norms = [
        math.sqrt(sum(float(g.double().square().sum()) for g in part.values()))
        for part in (of_agent, of_judge)
    ]
    product = sum(float((of_agent[n].double() * of_judge[n].double()).sum()) for n in of_agent)
    for gcd, scale in (
        (GCDConfig(weight=0.3), 0.3),
        (GCDConfig(weight=0.3, gradient_ratio=0.5), 0.5 * norms[0] / norms[1]),
    ):
        combined, stats = gradient(agent, judge, gcd)
        for name, value in combined.items():
            expected = of_agent[name] + scale * of_judge[name]
            torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-3)
        assert stats.agent.grad_norm == pytest.approx(norms[0], rel=1e-4)
        assert stats.judge.grad_norm == pytest.approx(norms[1], rel=1e-4)
        assert stats.judge_scale == pytest.approx(scale, rel=1e-4)
        assert stats.cosine == pytest.approx(product / norms[0] / norms[1], rel=1e-3)
        squared = norms[0] ** 2 + 2 * scale * product + (scale * norms[1]) ** 2
        assert stats.grad_norm == pytest.approx(math.sqrt(squared), rel=1e-3)


@pytest.mark.parametrize(
    "aggregation", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
)
def test_a_step_follows_the_gradient_of_the_whole_mini_batch(aggregation):
    # Idle samples are not computed but count in the normaliser.
    agent = [
        replace(sample, advantage=torch.zeros_like(sample.advantage)) if index % 3 == 0 else sample
        for index, sample in enumerate(agent_samples(12, copies=3))
    ]
    loss = LossConfig(kl_coef=0.0, aggregation=aggregation)
    one_step = OPT.model_copy(update={"num_mini_batches": 1, "grad_clip": 1e9})
    model, expected = tiny_model("qwen2", V), tiny_model("qwen2", V)
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    stats = update_on(model, descent, agent, [], loss, one_step, GCDConfig(), 0.7, randomness())
    total = oracle.minibatch_loss(expected, agent, loss, 0.7, 24)
    total.backward()
    assert stats.agent.loss == pytest.approx(float(total.detach()), abs=1e-5)
    for moved, start in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(moved, start - start.grad, atol=1e-5, rtol=1e-4)


def test_whatever_the_judge_does_at_weight_zero_the_agent_does_not_see():
    broken = [replace(s, advantage=s.advantage * math.nan) for s in judge_samples()]
    plain, _ = train(agent_samples())
    judged, _ = train(agent_samples(), broken, gcd=GCDConfig(weight=0.0))
    assert same_bits(plain, judged)


@pytest.mark.parametrize("option", ["skip_idle", "share_prompts"])
def test_saving_work_changes_nothing_but_rounding(option):
    agent = [
        replace(sample, advantage=torch.zeros_like(sample.advantage)) if index % 5 < 2 else sample
        for index, sample in enumerate(agent_samples(25, copies=5))
    ]
    fast, stats = train(agent, judge_samples(), loss=NO_KL)
    slow, slow_stats = train(agent, judge_samples(), loss=NO_KL, **{option: False})
    for name, value in fast.items():
        torch.testing.assert_close(value, slow[name], atol=1e-4, rtol=1e-3)
    assert stats.agent.num_forward_tokens < slow_stats.agent.num_forward_tokens
    assert stats.agent.num_skipped == 10
    assert stats.agent.num_samples == slow_stats.agent.num_samples == 25
    assert slow_stats.agent.num_skipped == (0 if option == "skip_idle" else 10)
    assert stats.agent.loss == pytest.approx(slow_stats.agent.loss, abs=1e-4)


def test_an_idle_iteration_is_a_step_with_gradient_zero():
    idle = [replace(s, advantage=torch.zeros_like(s.advantage)) for s in agent_samples()]
    opt = OPT.model_copy(update={"weight_decay": 0.1})
    fast, stats = train(idle, loss=NO_KL, opt=opt)
    slow, _ = train(idle, loss=NO_KL, opt=opt, skip_idle=False)
    assert same_bits(fast, slow)
    assert stats.num_steps == 3
    assert stats.agent.num_tokens == 0
    assert stats.agent.entropy is None
    assert stats.agent.clip_share is None
    assert stats.mismatch_mean is None
    # Nothing to rescale the judge's gradient to.
    judged, stats = train(
        idle, judge_samples(), loss=NO_KL, opt=opt, gcd=GCDConfig(gradient_ratio=1.0)
    )
    assert same_bits(fast, judged)
    assert stats.judge_scale == 0.0
    assert stats.cosine is None


def test_micro_batch_size_changes_nothing_but_rounding():
    small, _ = train(agent_samples(), judge_samples())
    large, _ = train(
        agent_samples(), judge_samples(), opt=OPT.model_copy(update={"micro_batch_tokens": 10_000})
    )
    for name, value in small.items():
        torch.testing.assert_close(value, large[name], atol=1e-4, rtol=1e-3)


def test_good_actions_become_more_likely():
    samples = [
        replace(s, advantage=torch.ones_like(s.advantage) * (1 if s.step_id % 2 else -1))
        for s in agent_samples(30, masked=False)
    ]
    model = tiny_model("qwen2", V)

    def likelihood():
        with torch.no_grad():
            return sum(
                float(s.advantage[0])
                * float(
                    torch.log_softmax(
                        model(torch.cat([s.prompt_ids, s.response_ids])[None]).logits[0], -1
                    )[len(s.prompt_ids) - 1, s.response_ids[0]]
                )
                for s in samples
            )

    before = likelihood()
    # Clip ranges this wide never bind.
    loss = LossConfig(kl_coef=0.0, clip_low=0.99, clip_high=1e6)
    train(samples, loss=loss, model=model, rounds=5)
    assert likelihood() > before + 10


def different(count):
    return [torch.tensor([index, 5]) for index in range(count)]


def test_mini_batches_are_even_and_cover_every_sample_once():
    judge = judge_samples(10)
    for mini_batch, num_agent, sizes in ((8, 20, [7, 7, 6]), (256, 20, [20]), (1, 3, [1, 1, 1])):
        opt = OptimizerConfig(mini_batch=mini_batch)
        plan = plan_steps(different(num_agent), prompts_of(judge), opt, randomness())
        assert [len(agent) for agent, _ in plan] == sizes
        assert sorted(index for agent, _ in plan for index in agent) == list(range(num_agent))
        assert sorted(index for _, part in plan for index in part) == list(range(10))
        parts = [len(part) for _, part in plan]
        assert max(parts) - min(parts) <= 1
    opt = OptimizerConfig(mini_batch=None, num_mini_batches=4)
    plan = plan_steps(different(10), [], opt, randomness())
    assert [len(agent) for agent, _ in plan] == [3, 3, 2, 2]
    assert len(plan_steps(different(2), [], opt, randomness())) == 2


def test_judge_samples_do_not_move_the_agents_mini_batches():
    alone = plan_steps(different(20), [], OPT, randomness())
    judged = plan_steps(different(20), prompts_of(judge_samples()), OPT, randomness(judge=77))
    assert [agent for agent, _ in alone] == [agent for agent, _ in judged]


def test_judgments_of_a_question_stay_together():
    questions = judge_samples(3)
    judge = [replace(questions[i % 3], step_id=i) for i in range(12)]
    plan = plan_steps(different(20), prompts_of(judge), OPT, randomness())
    assert sorted(part for _, part in plan) == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_samples_of_a_prompt_are_in_one_step_unless_each_is_dealt_by_itself():
    # Six prompts of four answers each; two steps have room for three prompts.
    prompts = [torch.tensor([index % 6, 5]) for index in range(24)]
    opt = OptimizerConfig(mini_batch=12)
    together = [{i % 6 for i in agent} for agent, _ in plan_steps(prompts, [], opt, randomness())]
    assert [len(each) for each in together] == [3, 3]
    assert together[0] | together[1] == set(range(6))
    apart = opt.model_copy(update={"shuffle": "samples"})
    dealt = [{i % 6 for i in agent} for agent, _ in plan_steps(prompts, [], apart, randomness())]
    assert all(len(each) > 3 for each in dealt)


def test_every_prompt_is_in_every_step_equally_often():
    prompts = [torch.tensor([index // 2]) for index in range(8)]
    opt, draws = OptimizerConfig(mini_batch=2), randomness()
    counts = torch.zeros(4, 4)
    for _ in range(400):
        for step, (agent, _) in enumerate(plan_steps(prompts, [], opt, draws)):
            assert agent[1] == agent[0] + 1
            counts[step, agent[0] // 2] += 1
    # 100 expected, with a standard deviation of 8.7.
    assert (counts - 100).abs().max() < 35


def test_statistics_of_an_update():
    model = tiny_model("qwen2", V)
    agent = [
        replace(s, sample_logprobs=s.old_logprobs + 0.25, old_logprobs=s.old_logprobs)
        for s in agent_samples(12)
    ]
    opt = OPT.model_copy(update={"epochs": 2})
    _, stats = train(agent, judge_samples(), opt=opt, model=model, rounds=1)
    assert stats.num_steps == 6
    assert stats.agent.num_samples == 24
    assert stats.agent.num_tokens == 2 * sum(len(s.response_ids) for s in agent)
    assert 0 < stats.agent.clip_share < 1
    assert stats.agent.kl > 0
    assert 0 < stats.agent.entropy < math.log(V)
    assert stats.judge.num_samples == 24
    assert -1 <= stats.cosine <= 1
    _, without_kl = train(agent, loss=NO_KL)
    assert without_kl.agent.kl is None
    assert without_kl.judge is None
    assert without_kl.cosine is None


def test_mismatch_is_between_the_sampling_engine_and_the_untouched_policy():
    model = tiny_model("qwen2", V)
    agent, gaps = [], []
    for index, sample in enumerate(agent_samples(9)):
        with torch.no_grad():
            exact = oracle.token_logprobs(model, sample, 1.0)
        shift = torch.full_like(exact, 0.01 * index)
        agent.append(replace(sample, sample_logprobs=exact + shift, old_logprobs=exact + shift))
        gaps += shift.tolist()
    one_step = OPT.model_copy(update={"num_mini_batches": 1, "epochs": 3})
    _, stats = train(agent, opt=one_step, model=model, rounds=1)
    assert stats.mismatch_mean == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)
    assert stats.mismatch_max == pytest.approx(0.08, abs=1e-5)


def test_divergence_is_reported_before_the_weights_are_touched():
    model = tiny_model("qwen2", V)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    broken = [replace(s, advantage=s.advantage * math.nan) for s in agent_samples()]
    with pytest.raises(UserError, match=r"gradient.*nan.*optimizer\.lr=0\.01"):
        train(broken, model=model)
    assert same_bits(before, {name: p.detach() for name, p in model.named_parameters()})


def test_frozen_parameters_stay():
    model = tiny_model("qwen2", V)
    model.model.embed_tokens.weight.requires_grad_(False)
    before = model.model.embed_tokens.weight.detach().clone()
    after, _ = train(agent_samples(), model=model)
    assert torch.equal(before, after["model.embed_tokens.weight"])


def test_training_mode_is_put_back():
    model = tiny_model("qwen2", V).train()
    train(agent_samples(), model=model, rounds=1)
    assert model.training


def test_what_an_update_needs():
    with pytest.raises(ValueError, match="at least one agent sample"):
        train([])
    with pytest.raises(ValueError, match=r"kl_coef=0\.02 needs the reference"):
        train(agent_samples(reference=False))


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", [0.4] * 4), ("linear", [0.4, 0.3, 0.2, 0.1])]
)
def test_learning_rate_of_every_iteration(schedule, expected):
    config = OptimizerConfig(lr=0.4, lr_schedule=schedule)
    optimizer = build_optimizer(tiny_model("qwen2", V), config)
    rates = []
    for iteration in range(4):
        set_learning_rate(optimizer, config, iteration, 4)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx(expected)


APART = GCDConfig(weight=0.7, gradient_cosine=True)
ADDED = GCDConfig(weight=0.7, gradient_cosine=False)


def test_the_weights_are_the_same_but_for_rounding():
    apart, stats = train(agent_samples(), judge_samples(), gcd=APART, rounds=1)
    added, other = train(agent_samples(), judge_samples(), gcd=ADDED, rounds=1)
    for name, weight in apart.items():
        # AdamW divides by the size of a gradient, so that rounding shows in entries near zero.
        torch.testing.assert_close(added[name], weight, atol=2e-4, rtol=0)
    assert other.grad_norm == pytest.approx(stats.grad_norm, rel=1e-5)
    assert other.judge_scale == stats.judge_scale == pytest.approx(0.7)
    assert other.agent.grad_norm == pytest.approx(stats.agent.grad_norm, rel=1e-3)
    assert (other.judge.grad_norm, other.cosine) == (None, None)
    assert other.judge.num_tokens == stats.judge.num_tokens


def test_small_models_measure_unless_told_otherwise():
    measured, stats = train(agent_samples(), judge_samples(), gcd=GCDConfig(weight=0.7), rounds=1)
    assert stats.cosine is not None
    assert same_bits(measured, train(agent_samples(), judge_samples(), gcd=APART, rounds=1)[0])


def test_the_weight_of_zero_and_a_ratio_keep_both_gradients():
    for gcd in (ADDED.model_copy(update={"weight": 0.0}), GCDConfig(gradient_ratio=0.5)):
        _, stats = train(agent_samples(), judge_samples(), gcd=gcd, rounds=1)
        assert stats.judge.grad_norm > 0


def test_a_ratio_needs_no_cosine():
    given = {"gradient_ratio": 0.5}
    weights, stats = train(agent_samples(), judge_samples(), gcd=GCDConfig(**given), rounds=1)
    without = GCDConfig(**given, gradient_cosine=False)
    others, other = train(agent_samples(), judge_samples(), gcd=without, rounds=1)
    assert same_bits(weights, others)
    assert other.cosine is None
    assert replace(other, cosine=stats.cosine) == stats


def test_a_copy_of_the_gradient_less_is_held_at_once(monkeypatch):
    clip = torch.nn.utils.clip_grad_norm_

    def watch(gcd):
        """What there is when a gradient is clipped and in the end, in multiples of the weights."""
        model = tiny_model("llama", V)
        optimizer = build_optimizer(model, OPT)
        sizes = []

        def watching_clip(*args):
            sizes.append(meter.now)
            return clip(*args)

        monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", watching_clip)
        args = (agent_samples(), judge_samples(), NO_KL, OPT, gcd, 1.0, randomness())
        with MemoryMeter() as meter:
            meter.add(model.parameters())
            weights = meter.now
            update_on(model, optimizer, *args)
        return sizes[-1] / weights, meter.now / weights

    # The weights and their two moments stay, and no gradient.
    assert watch(APART) == pytest.approx((5, 3), abs=0.3)
    assert watch(ADDED) == pytest.approx((4, 3), abs=0.3)

"""The value head: its loss, its gradient in both directions, and its life beside the agent."""

import math
from dataclasses import replace

import pytest
import torch
from builders import make_samples, update_on
from tiny_models import tiny_model
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.ground.errors import UserError
from declutch.learner.checkpoint import load_checkpoint, save_checkpoint
from declutch.learner.optimizer import build_optimizer
from declutch.learner.update import Randomness
from declutch.learner.value_head import (
    HEAD_FILE,
    Classification,
    Labelled,
    ValueHead,
    classification_loss,
    classify,
    layer_bytes,
    load_layer,
    make_layer,
    read_logits,
    split_prompts,
)

V = 24
LOSS = LossConfig(kl_coef=0.02)
OPT = OptimizerConfig(lr=1e-2, mini_batch=None, num_mini_batches=3, micro_batch_tokens=64)


def new_head(model, lr=1e-2, seed=7):
    layer = make_layer(model, torch.Generator().manual_seed(seed))
    return ValueHead(layer, build_optimizer(layer, OptimizerConfig(lr=lr)))


def make_labelled(count=10, seed=3):
    prompts = [sample.prompt_ids for sample in make_samples(count, V, seed)]
    return [Labelled(prompt, index % 2) for index, prompt in enumerate(prompts)]


def randomness():
    return Randomness(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))


def train(labelled=None, gcd=None, opt=OPT, rounds=2):
    """Parameters by name, head and statistics after some updates of a fresh model."""
    model = tiny_model("qwen2", V)
    optimizer, head, draws = build_optimizer(model, opt), new_head(model), randomness()
    judge = () if labelled is None else Classification(head, labelled, 64, 0)
    for _ in range(rounds):
        stats = update_on(
            model,
            optimizer,
            make_samples(20, V),
            judge,
            LOSS,
            opt,
            gcd or GCDConfig(),
            1.0,
            draws,
        )
    return {name: p.detach().clone() for name, p in model.named_parameters()}, head, stats


def same_bits(left, right):
    return all(
        torch.equal(left[name].view(torch.int32), right[name].view(torch.int32)) for name in left
    )


def test_cross_entropy_and_its_gradient_by_hand():
    logits = torch.tensor([0.0, 2.0, -1.0], requires_grad=True)
    loss = classification_loss(logits, [1, 0, 1], 3)
    expected = (math.log(2) + math.log(1 + math.exp(2)) + math.log(1 + math.exp(1))) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    sigmoid = [0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))]
    gradient = [(sigmoid[0] - 1) / 3, sigmoid[1] / 3, (sigmoid[2] - 1) / 3]
    assert logits.grad.tolist() == pytest.approx(gradient, abs=1e-6)


@pytest.mark.parametrize("name", ["qwen2", "llama", "gemma2", "gpt2"])
def test_it_reads_the_last_hidden_state_of_each_prompt(name):
    model = tiny_model(name, V)
    layer = new_head(model).layer
    prompts = [example.prompt_ids for example in make_labelled()]
    found = classify(model, layer, prompts, 40, 0)
    assert not found.requires_grad
    for prompt, logit in zip(prompts, found, strict=True):
        with torch.no_grad():
            states = model(prompt[None], output_hidden_states=True).hidden_states[-1]
            expected = states[0, -1] @ layer.weight[0] + layer.bias[0]
        assert logit.item() == pytest.approx(expected.item(), abs=1e-5)


def test_its_gradient_is_that_of_finite_differences():
    # Most architectures normalise in single precision, too coarse for differences; this one does
    # not.
    model = tiny_model("gpt2", V).double()
    layer = new_head(model).layer.double()
    examples = make_labelled(5)
    head = ValueHead(layer, torch.optim.SGD(layer.parameters(), lr=1.0))

    def loss():
        with torch.no_grad():
            logits = read_logits(model, layer, [e.prompt_ids for e in examples], 0)
            return classification_loss(logits, [e.label for e in examples], 5).item()

    sums = Classification(head, examples, 20, 0).backward(model, range(5))
    assert sums.loss == pytest.approx(loss(), abs=1e-12)
    assert sums.num_samples == 5
    assert sums.num_forward_tokens == sum(len(e.prompt_ids) for e in examples)
    draw, step = torch.Generator().manual_seed(0), 1e-6
    for parameter in (*model.parameters(), *layer.parameters()):
        if parameter.grad is None:
            continue
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        place = int(torch.randint(len(flat), (1,), generator=draw))
        start = flat[place].item()
        ends = []
        for sign in (1, -1):
            flat[place] = start + sign * step
            ends.append(loss())
        flat[place] = start
        slope = (ends[0] - ends[1]) / (2 * step)
        assert gradient[place].item() == pytest.approx(slope, abs=1e-7, rel=1e-5)


@pytest.mark.parametrize("budget", [1, 30, 10_000])
def test_passes_hold_every_prompt_once_within_the_budget(budget):
    prompts = [example.prompt_ids for example in make_labelled(20)]
    batches = list(split_prompts(prompts, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(20))
    for batch in batches:
        longest = max(len(prompts[index]) for index in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
    assert list(split_prompts([], budget)) == []


@pytest.mark.parametrize("opt", [OPT, OPT.model_copy(update={"mini_batch": 7, "epochs": 2})])
def test_classifying_at_weight_zero_is_plain_grpo_bit_for_bit(opt):
    plain, untouched, plain_stats = train(opt=opt)
    probed, head, stats = train(make_labelled(), GCDConfig(weight=0.0), opt)
    assert same_bits(plain, probed)
    assert stats.agent == plain_stats.agent
    assert stats.grad_norm == plain_stats.grad_norm
    assert stats.judge.grad_norm > 0  # it was measured all the same
    assert -1 <= stats.cosine <= 1
    # The head is a probe of what the agent alone made: it has learned.
    assert not torch.equal(head.layer.weight, untouched.layer.weight)
    weighted, _, _ = train(make_labelled(), GCDConfig(weight=1.0), opt)
    assert not same_bits(plain, weighted)


def test_a_broken_head_at_weight_zero_is_not_seen_by_the_agent():
    plain, _, _ = train()
    model = tiny_model("qwen2", V)
    head = new_head(model)
    with torch.no_grad():
        head.layer.weight.fill_(math.nan)
    optimizer, draws = build_optimizer(model, OPT), randomness()
    for _ in range(2):
        update_on(
            model,
            optimizer,
            make_samples(20, V),
            Classification(head, make_labelled(), 64, 0),
            LOSS,
            OPT,
            GCDConfig(weight=0.0),
            1.0,
            draws,
        )
    assert same_bits(plain, {name: p.detach() for name, p in model.named_parameters()})


def test_gradient_is_the_agents_plus_weight_times_the_classifiers():
    # One step of plain descent reads the gradients off the parameters.
    one_step = OPT.model_copy(update={"num_mini_batches": 1, "grad_clip": 1e9})
    agent, labelled = make_samples(20, V), make_labelled()

    def gradient(judge_of, gcd):
        model = tiny_model("qwen2", V)
        layer = new_head(model).layer
        head = ValueHead(layer, torch.optim.SGD(layer.parameters(), lr=1.0))
        named = {**dict(model.named_parameters()), "head": layer.weight}
        start = {name: p.detach().clone() for name, p in named.items()}
        descent = torch.optim.SGD(model.parameters(), lr=1.0)
        judge = judge_of(head)
        stats = update_on(model, descent, agent, judge, LOSS, one_step, gcd, 1.0, randomness())
        return {name: start[name] - p.detach() for name, p in named.items()}, stats

    # The classifier's own gradient, by autograd on a plain forward pass of each prompt.
    model = tiny_model("qwen2", V)
    layer = new_head(model).layer
    total = 0.0
    for example in labelled:
        state = model(example.prompt_ids[None], output_hidden_states=True).hidden_states[-1][0, -1]
        logit = layer(state)[0]
        total = total - torch.nn.functional.logsigmoid(logit if example.label else -logit)
    (total / len(labelled)).backward()
    own = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    of_agent, _ = gradient(lambda head: (), GCDConfig())
    names = [name for name in of_agent if name != "head"]
    norms = [
        math.sqrt(sum(float(part[n].double().square().sum()) for n in names if n in part))
        for part in (of_agent, own)
    ]
    product = sum(float((of_agent[n].double() * own[n].double()).sum()) for n in own)
    for gcd, scale in (
        (GCDConfig(weight=0.3), 0.3),
        (GCDConfig(weight=0.3, gradient_ratio=0.5), 0.5 * norms[0] / norms[1]),
        (GCDConfig(weight=0.0), 0.0),
    ):
        combined, stats = gradient(lambda head: Classification(head, labelled, 64, 0), gcd)
        for name in names:
            expected = of_agent[name] + scale * own.get(name, torch.zeros(()))
            torch.testing.assert_close(combined[name], expected, atol=1e-6, rtol=1e-3)
        # The head follows its own loss, whatever reaches the backbone.
        torch.testing.assert_close(combined["head"], layer.weight.grad, atol=1e-6, rtol=1e-4)
        assert stats.judge.loss == pytest.approx(total.item() / len(labelled), rel=1e-4)
        assert stats.judge.grad_norm == pytest.approx(norms[1], rel=1e-4)
        assert stats.judge_scale == pytest.approx(scale, rel=1e-4)
        assert stats.cosine == pytest.approx(product / norms[0] / norms[1], rel=1e-3)
        assert stats.judge.entropy is None
        assert stats.judge.kl is None


def test_the_heads_gradient_is_clipped_by_itself():
    model = tiny_model("qwen2", V)
    layer = new_head(model).layer
    head = ValueHead(layer, torch.optim.SGD(layer.parameters(), lr=1.0))
    start = layer.weight.detach().clone()
    layer.weight.grad = torch.full_like(layer.weight, 3.0)
    head.step(grad_clip=0.5)
    assert (start - layer.weight).norm().item() == pytest.approx(0.5, rel=1e-4)
    before = layer.weight.detach().clone()
    head.step(grad_clip=0.5)  # no gradient left over
    assert torch.equal(before, layer.weight)


def test_micro_batch_size_changes_nothing_but_rounding():
    small, small_head, _ = train(make_labelled())
    large_opt = OPT.model_copy(update={"micro_batch_tokens": 10_000})
    large, large_head, _ = train(make_labelled(), opt=large_opt)
    for name, value in small.items():
        torch.testing.assert_close(value, large[name], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        small_head.layer.weight, large_head.layer.weight, atol=1e-4, rtol=1e-3
    )


def test_it_learns_to_tell_the_classes_apart():
    labelled = make_labelled(12)
    model = tiny_model("qwen2", V)
    optimizer, head, draws = build_optimizer(model, OPT), new_head(model), randomness()
    idle = [replace(s, advantage=torch.zeros_like(s.advantage)) for s in make_samples(6, V)]
    for _ in range(60):
        stats = update_on(
            model,
            optimizer,
            idle,
            Classification(head, labelled, 64, 0),
            LossConfig(kl_coef=0.0),
            OPT,
            GCDConfig(),
            1.0,
            draws,
        )
    assert stats.judge.loss < 0.1
    logits = classify(model, head.layer, [e.prompt_ids for e in labelled], 64, 0)
    assert [int(logit > 0) for logit in logits] == [e.label for e in labelled]


def test_a_resumed_head_continues_bit_for_bit(tmp_path):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    )

    def iterate(model, optimizer, head, seed):
        draws = Randomness(*(torch.Generator().manual_seed(seed + i) for i in (0, 1)))
        judge = Classification(head, make_labelled(seed=seed), 64, 0)
        agent = make_samples(12, V, seed)
        update_on(model, optimizer, agent, judge, LOSS, OPT, GCDConfig(), 1.0, draws)

    model = tiny_model("qwen2", V)
    optimizer, head = build_optimizer(model, OPT), new_head(model)
    iterate(model, optimizer, head, 0)
    parts = {"value head": head.state()}
    path = save_checkpoint(tmp_path / "one", model, tokenizer, optimizer, 1, parts)
    iterate(model, optimizer, head, 1)

    resumed = AutoModelForCausalLM.from_pretrained(path)
    other, other_head = build_optimizer(resumed, OPT), new_head(resumed, seed=99)
    checkpoint = load_checkpoint(path)
    checkpoint.restore(other)
    other_head.restore(checkpoint.part("value head"))
    iterate(resumed, other, other_head, 1)
    assert torch.equal(head.layer.weight, other_head.layer.weight)
    assert torch.equal(head.layer.bias, other_head.layer.bias)
    left, right = (dict(m.named_parameters()) for m in (model, resumed))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_layer_lies_beside_a_models_weights(tmp_path):
    model = tiny_model("qwen2", V)
    layer, other = new_head(model).layer, new_head(model, seed=99).layer
    assert not load_layer(other, tmp_path)
    assert not torch.equal(layer.weight, other.weight)
    (tmp_path / HEAD_FILE).write_bytes(layer_bytes(layer))
    assert load_layer(other, tmp_path)
    assert torch.equal(layer.weight, other.weight)


def test_a_layer_that_cannot_be_used_is_named(tmp_path):
    layer = new_head(tiny_model("qwen2", V)).layer
    whole = layer_bytes(layer)
    wide = layer_bytes(torch.nn.Linear(99, 1))
    for content in (whole[: len(whole) // 2], b"", b"no head", wide):
        (tmp_path / HEAD_FILE).write_bytes(content)
        with pytest.raises(UserError, match=f"{HEAD_FILE} does not fit the model"):
            load_layer(layer, tmp_path)


def test_an_iteration_without_labelled_steps_is_the_agents_alone():
    plain, _, plain_stats = train()
    empty, _, stats = train([])
    assert same_bits(plain, empty)
    assert stats == plain_stats

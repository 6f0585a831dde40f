import math
from dataclasses import replace

import learner_oracle as oracle
import pytest
import torch
from builders import make_samples, make_step
from tiny_models import tiny_model

import declutch.learner.forward
from declutch.learner.forward import example_loss, sharing_break_even, token_logprobs
from declutch.learner.pack import pack
from declutch.learner.probe import probe
from declutch.learner.samples import Sample
from declutch.records import Role, Step

V = 24
ARCHITECTURES = ("qwen2", "llama", "gemma2", "cohere", "granite", "gpt2")


def by_sample(model, samples, temperature=1.0, budget=60, break_even=None):
    """step_id -> ([T] log-probabilities, [T] entropies), through packed batches."""
    found = {}
    for batch in pack(samples, budget, 0, V, break_even):
        logprobs, entropy = token_logprobs(model, batch, temperature)
        assert (logprobs[~batch.response_mask] == 0).all()
        assert (entropy[~batch.response_mask] == 0).all()
        for step_id in batch.step_id.unique().tolist():
            place = (batch.step_id == step_id) & batch.response_mask
            if place.any():
                found[step_id] = (logprobs[place], entropy[place])
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("masked", [False, True])
def test_equals_a_full_forward_pass_of_each_sample(name, masked):
    model = tiny_model(name, V)
    samples = make_samples(9, V, seed=3, masked=masked)
    with torch.no_grad():
        found = by_sample(model, samples, temperature=0.7)
        for sample in samples:
            distribution = oracle.response_distribution(model, sample, 0.7)
            logprobs, entropy = found[sample.step_id]
            expected = distribution[torch.arange(len(logprobs)), sample.response_ids]
            torch.testing.assert_close(logprobs, expected, atol=2e-5, rtol=1e-4)
            plain = torch.where(distribution.isinf(), 0, distribution.exp() * distribution)
            torch.testing.assert_close(entropy, -plain.sum(-1), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if n != "gemma2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_sharing_a_prompt_changes_nothing(name, attention):
    model = tiny_model(name, V, attn_implementation=attention).double()
    assert sharing_break_even(model) == 32.0
    samples = make_samples(12, V, seed=4, copies=4)
    results = []
    for break_even in (None, 1e9):
        model.zero_grad()
        found = by_sample(model, samples, break_even=break_even)
        total = sum((1 + step_id) * logprobs.sum() for step_id, (logprobs, _) in found.items())
        total.backward()
        gradient = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append((found, gradient))
    # Some architectures normalise in single precision whatever the model's type.
    torch.testing.assert_close(results[0], results[1], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_a_mask_that_is_written_out_changes_nothing(name, monkeypatch):
    model = tiny_model(name, V).double()
    samples = make_samples(9, V, seed=3)
    ids = torch.arange(2 * 7).reshape(2, 7) % V
    place, target = (torch.tensor([0, 0, 1]), torch.tensor([2, 5, 4])), torch.tensor([3, 1, 2])
    forward = declutch.learner.forward
    monkeypatch.setattr(forward, "can_fuse_now", lambda model: False)
    given, found = [], []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: given.append("attention_mask" in kwargs), with_kwargs=True
    )
    for is_needed in (False, True):
        monkeypatch.setattr(forward, "needs_mask", lambda model, is_=is_needed: is_)
        with torch.no_grad():
            found.append((by_sample(model, samples), example_loss(model, ids, place, target)))
    torch.testing.assert_close(found[0], found[1], atol=2e-5, rtol=1e-4)
    half = len(given) // 2
    assert given == [False] * half + [True] * half


def test_a_prompt_of_one_token_may_be_shared():
    """As many places are read out as the row has tokens, and they are others."""
    model = tiny_model("qwen2", V).double()
    zeros = torch.zeros(2)
    samples = [
        Sample(index, Role.AGENT, torch.tensor([5]), torch.tensor(ids), (), zeros, zeros, zeros)
        for index, ids in enumerate(([3, 4], [7, 8]))
    ]
    with torch.no_grad():
        alone, shared = (by_sample(model, samples, break_even=each) for each in (None, 1e9))
    for index in range(2):
        torch.testing.assert_close(shared[index], alone[index])


def test_models_that_cannot_share_are_known():
    assert sharing_break_even(tiny_model("gemma2", V)) is None  # a sliding window


def test_the_read_out_sees_only_what_predicts_a_response():
    model = tiny_model("qwen2", V)
    samples = make_samples(9, V, seed=3)
    seen = []
    handle = model.lm_head.register_forward_hook(lambda _, __, out: seen.append(out.shape[1]))
    by_sample(model, samples, budget=10_000)
    handle.remove()
    assert seen == [sum(len(sample.response_ids) for sample in samples)]
    assert not model.lm_head._forward_pre_hooks


def test_a_model_without_a_read_out_module_takes_the_full_logits():
    model = tiny_model("qwen2", V)
    samples = make_samples(5, V, seed=3)
    with torch.no_grad():
        expected = by_sample(model, samples)
        model.get_output_embeddings = lambda: None
        found = by_sample(model, samples)
    for step_id, (logprobs, _) in expected.items():
        torch.testing.assert_close(found[step_id][0], logprobs)


def test_a_forced_token_has_probability_one_and_no_gradient():
    model = tiny_model("qwen2", V)
    sample = make_samples(1, V, seed=5)[0]
    sample = replace(sample, allowed_ids=tuple((int(token),) for token in sample.response_ids))
    logprobs, entropy = by_sample(model, [sample])[0]
    assert (logprobs == 0).all()
    assert (entropy == 0).all()
    logprobs.sum().backward()
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


def test_entropy_of_a_masked_token_is_that_of_what_is_allowed():
    model = tiny_model("qwen2", V)
    with torch.no_grad():
        model.lm_head.weight.zero_()  # uniform
    sample = make_samples(1, V, seed=5)[0]
    tokens = sample.response_ids.tolist()
    allowed = tuple((token, (token + 1) % V, (token + 2) % V) for token in tokens)
    logprobs, entropy = by_sample(model, [replace(sample, allowed_ids=allowed)])[0]
    assert entropy.tolist() == pytest.approx([math.log(3)] * len(tokens))
    assert logprobs.tolist() == pytest.approx([-math.log(3)] * len(tokens))


def as_step(sample) -> Step:
    return replace(
        make_step(),
        prompt_ids=sample.prompt_ids,
        response_ids=sample.response_ids,
        sample_logprobs=sample.sample_logprobs,
        allowed_ids=sample.allowed_ids,
    )


def test_probe_keeps_order_and_leaves_the_model_as_it_was():
    model = tiny_model("qwen2", V).train()
    samples = make_samples(12, V, seed=6, copies=3)
    found = probe(model, [as_step(sample) for sample in samples], 0.8, 50, 0)
    assert model.training
    assert len(found) == 12
    for sample, logprobs in zip(samples, found, strict=True):
        assert not logprobs.requires_grad
        expected = oracle.token_logprobs(model, sample, 0.8)
        torch.testing.assert_close(logprobs, expected.detach(), atol=2e-5, rtol=1e-4)


def test_probe_ignores_dropout_and_takes_empty_responses():
    model = tiny_model("qwen2", V, attention_dropout=0.9).train()
    samples = make_samples(3, V, seed=6)
    steps = [as_step(sample) for sample in samples] + [make_step(response=())]
    first, second = (probe(model, steps, 1.0, 50, 0) for _ in range(2))
    assert [len(part) for part in first] == [*(len(s.response_ids) for s in samples), 0]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

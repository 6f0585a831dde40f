"""Inner products of gradients: torch.func's, in parts, by other architectures, and sketched."""

from pathlib import Path

import pytest
import torch
from coupled import VOCABULARY, make_rows
from tiny_models import tiny_model
from torch.func import functional_call, grad, vmap

from declutch.coupling.gram import GramSettings, _Sketcher, gradient_products
from declutch.coupling.measured import MeasuredModel, computes_in_float64, micro_batches
from declutch.coupling.per_sample import can_tell_apart, parameter_groups, plain_gradients
from declutch.coupling.samples import LabelledSample


def make_samples(count=6, length=None):
    rows = make_rows(4, seed=5)[:count]
    return [
        LabelledSample(
            number,
            torch.tensor(([*row["prompt_ids"], *range(9)])[: length or None]),
            torch.tensor(row["response_ids"] if length is None else [1, 2, 3]),
        )
        for number, row in enumerate(rows)
    ]


def measured(name="qwen2", **changes):
    model = computes_in_float64(tiny_model(name, VOCABULARY, **changes).double())
    return MeasuredModel(name, model, Path())


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_they_are_those_of_torch_func(name) -> None:
    model, samples = measured(name), make_samples(length=9)
    network = model.network
    network.config._attn_implementation = "eager"
    values = {key: each.detach() for key, each in network.named_parameters()}
    ids = torch.stack([torch.cat([s.prompt_ids, s.response_ids]) for s in samples])

    def likelihood(parameters, row):
        out = functional_call(network, parameters, (), {"input_ids": row[None], "use_cache": False})
        logprobs = torch.log_softmax(out.logits[0, 8:-1], dim=-1)
        return logprobs.gather(1, row[9:, None]).sum()

    found = vmap(grad(likelihood), in_dims=(None, 0))(values, ids)
    flat = torch.cat([each.flatten(1) for each in found.values()], dim=1)
    gram = gradient_products(model, samples).scope("all")
    assert torch.allclose(gram, flat @ flat.T, rtol=1e-10)


@pytest.mark.parametrize("name", ["gemma2", "cohere", "granite", "gpt2"])
def test_they_are_those_of_plain_backward_passes(name) -> None:
    model, samples = measured(name), make_samples()
    assert can_tell_apart(model.network, samples, 1.0)
    gradients = []
    for sample in samples:
        ids = torch.cat([sample.prompt_ids, sample.response_ids])
        logits = model.network(input_ids=ids[None]).logits[0, sample.prompt_ids.numel() - 1 : -1]
        logprobs = torch.log_softmax(logits / 0.7, dim=-1).gather(1, sample.response_ids[:, None])
        found = torch.autograd.grad(logprobs.sum(), list(model.network.parameters()))
        gradients.append(torch.cat([each.flatten() for each in found]))
    flat = torch.stack(gradients)
    gram = gradient_products(model, samples, GramSettings(temperature=0.7)).scope("all")
    assert torch.allclose(gram, flat @ flat.T, rtol=1e-9, atol=1e-12)


def test_a_model_that_mixes_its_samples_gets_plain_backward_passes() -> None:
    import transformers

    config = transformers.Qwen2MoeConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, moe_intermediate_size=8,
        shared_expert_intermediate_size=8, num_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    model = MeasuredModel("moe", computes_in_float64(network.double()), Path())
    samples = make_samples(4)
    gram = gradient_products(model, samples)
    assert not gram.is_apart
    sample = samples[1]
    ids = torch.cat([sample.prompt_ids, sample.response_ids])
    logits = network(input_ids=ids[None]).logits[0, sample.prompt_ids.numel() - 1 : -1]
    total = torch.log_softmax(logits, dim=-1).gather(1, sample.response_ids[:, None]).sum()
    found = torch.autograd.grad(total, list(network.parameters()), allow_unused=True)
    norm = sum(float(each.square().sum()) for each in found if each is not None)
    assert float(gram.scope("all")[1, 1]) == pytest.approx(norm, rel=1e-9)


def test_parts_that_fit_into_memory_add_up() -> None:
    model, samples = measured(), make_samples()
    whole = gradient_products(model, samples)
    parts = gradient_products(model, samples, GramSettings(method="exact", memory=20_000))
    assert parts.num_passes > 5
    assert whole.scopes == parts.scopes == ("all", "no_embeddings", "layer.0", "layer.1")
    for scope in whole.scopes:
        assert torch.allclose(whole.scope(scope), parts.scope(scope), rtol=1e-12)


def test_the_weights_and_what_they_require_stay_as_they_are() -> None:
    model, samples = measured(), make_samples()
    before = {key: each.clone() for key, each in model.network.named_parameters()}
    gradient_products(model, samples)
    for key, each in model.network.named_parameters():
        assert each.requires_grad
        assert each.grad is None
        assert torch.equal(each, before[key])


def test_a_sketch_is_right_on_average_and_as_wrong_as_theory_says() -> None:
    """One group of one matrix: the error of a cosine c is (1 - c^2) / sqrt(d)."""
    model, samples, width = measured("llama"), make_samples(), 64
    group = "layer.0"
    exact = gradient_products(model, samples).by_group[group]

    def cosines(gram):
        return gram / gram.diag().sqrt()[:, None] / gram.diag().sqrt()

    drawn = torch.stack(
        [
            gradient_products(
                model, samples, GramSettings(method="sketch", width=width, seed=seed)
            ).by_group[group]
            for seed in range(30)
        ]
    )
    upper = torch.triu_indices(6, 6, offset=1).unbind()
    bias = (drawn.mean(0) - exact).diag() / exact.diag()
    assert bias.abs().max() < 4 * (2 / width) ** 0.5 / 30**0.5
    errors = torch.stack([cosines(each) - cosines(exact) for each in drawn])
    theory = (1 - cosines(exact) ** 2) / width**0.5
    ratio = (errors.square().mean(0).sqrt() / theory)[upper]
    assert 0.75 < float(ratio.mean()) < 1.1


@pytest.mark.parametrize("width", [16, 100, 1000])
def test_a_sketch_is_that_of_the_whole_gradients(width) -> None:
    """Of a tied matrix, too, of which reading tokens in changes a few rows only."""
    model, samples = measured("qwen2"), make_samples()
    settings = GramSettings(method="sketch", width=width, seed=3)
    groups = parameter_groups(model.network)
    sketcher = _Sketcher(model.network, len(samples), groups, settings)
    for row, sample in enumerate(samples):
        (micro,) = micro_batches([sample], model.device)
        for name, gradient in plain_gradients(model.network, micro, 1.0).items():
            sketcher.visit(name, torch.tensor([row]), gradient[None])
    found = gradient_products(model, samples, settings)
    for group, sketches in sketcher.sketches.items():
        assert torch.allclose(found.by_group[group], sketches @ sketches.T, rtol=1e-9)


def test_parameters_that_do_not_train_are_left_out() -> None:
    model, samples = measured("llama"), make_samples()
    whole = gradient_products(model, samples)
    for name, each in model.network.named_parameters():
        each.requires_grad_("layers.1" in name)
    part = gradient_products(model, samples)
    assert set(part.by_group) == {"layer.1"}
    assert torch.allclose(part.scope("all"), whole.scope("layer.1"), rtol=1e-12)
    flags = [each.requires_grad for name, each in model.network.named_parameters()]
    assert sum(flags) == sum("layers.1" in name for name, _ in model.network.named_parameters())

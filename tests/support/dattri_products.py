"""Inner products of per-sample gradients by dattri-llm beside ours; prints FOUND and JSON.

Runs in the environment of packaging/test_dattri.py, which has dattri-llm.
"""

import json
from importlib.metadata import version

import torch
from dattri_llm import REGISTER_ALL, HookManager, HookManagerConfig
from dattri_llm.gradient.callbacks import CaptureCallback
from dattri_llm.utils.module import rms_norm_module_kwargs
from tiny_models import tiny_model

from declutch.coupling.gram import gradient_products
from declutch.coupling.influence import InfluenceSettings, measure_influence
from declutch.coupling.measured import MeasuredModel, computes_in_float64
from declutch.coupling.per_sample import parameter_groups
from declutch.coupling.samples import LabelledSample

LENGTHS = ((9, 4), (3, 1), (5, 6), (12, 2), (9, 4), (1, 3))
"""Tokens of prompt and response of each sample."""


def make_samples():
    draw = torch.Generator().manual_seed(0)
    return [
        LabelledSample(
            line,
            *(torch.randint(1, 24, (size,), generator=draw) for size in sizes),
            label=line % 2,
            domain="in",
            episode=str(line),
        )
        for line, sizes in enumerate(LENGTHS, start=1)
    ]


def capture(network, samples):
    """dattri-llm's gradients of the samples' log-likelihoods, by one padded backward pass."""
    norms = {
        name: module for name, module in network.named_modules() if "RMSNorm" in str(type(module))
    }
    config = HookManagerConfig(
        linear_io=REGISTER_ALL,
        hook_types=dict.fromkeys(norms, "linear_io"),
        layer_types=dict.fromkeys(norms, "nn.RMSNorm"),
        module_kwargs={
            name: rms_norm_module_kwargs(
                normalized_shape=len(module.weight), eps=module.variance_epsilon
            )
            for name, module in norms.items()
        },
    )
    kept = CaptureCallback()
    manager = HookManager(network, config=config, callbacks=[kept])
    width = max(sample.num_tokens for sample in samples)
    ids = torch.zeros(len(samples), width, dtype=torch.int64)
    is_answer = torch.zeros(len(samples), width, dtype=torch.bool)
    for row, sample in enumerate(samples):
        tokens = torch.cat([sample.prompt_ids, sample.response_ids])
        ids[row, : len(tokens)] = tokens
        is_answer[row, len(sample.prompt_ids) : len(tokens)] = True
    with manager.collect():
        logprobs = network(input_ids=ids, use_cache=False).logits[:, :-1].log_softmax(-1)
        chosen = logprobs.gather(2, ids[:, 1:, None])[:, :, 0]
        chosen[is_answer[:, 1:]].sum().backward()
    manager.remove()
    network.zero_grad()
    return kept.record.gradient


def by_group(network, gradient):
    """dattri-llm's inner products [n, n], added up by our groups of parameters."""
    groups = {name.rpartition(".")[0]: group for name, group in parameter_groups(network).items()}
    found = {}
    for layer, product in gradient.similarity(gradient).items():
        group = groups.get(layer, "embeddings")
        found[group] = found.get(group, 0) + product.detach()
    return found


def compare(name):
    network = computes_in_float64(tiny_model(name).double())
    model, samples = MeasuredModel(name, network, None), make_samples()
    theirs = by_group(network, capture(network, samples))
    ours = gradient_products(model, samples)
    total = sum(theirs.values())
    influence = measure_influence(model, samples, InfluenceSettings(eta=1e-6))
    return {
        "groups": sorted(theirs),
        "ours": sorted(ours.by_group),
        "worst": {
            group: float((product - ours.by_group[group]).abs().max() / product.abs().max())
            for group, product in theirs.items()
        },
        "all": float((total - ours.scope("all")).abs().max() / total.abs().max()),
        "influence": float((total - influence.first_order).abs().max() / total.abs().max()),
    }


if __name__ == "__main__":
    found = {"untied": compare("llama"), "tied": compare("qwen2")}
    found["version"] = version("dattri-llm")
    print("FOUND" + json.dumps(found))

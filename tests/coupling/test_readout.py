"""What the read-out's gradient is made of, of samples that share a pass and of each by itself."""

import pytest
import torch
from tiny_models import tiny_model

from declutch.coupling import readout
from declutch.coupling.measured import MeasuredModel, computes_in_float64
from declutch.coupling.readout import readouts
from declutch.coupling.samples import LabelledSample
from declutch.coupling.tokens import coupling_matrix, measure_gaps
from declutch.learner import forward


def make_samples():
    """Prompts of one token, equal ones, and several with one beginning; a sample is there twice."""
    draw = torch.Generator().manual_seed(0)

    def ids(count):
        return torch.randint(1, 24, (count,), generator=draw)

    head = ids(6)
    prompts = [ids(1), ids(1), head, head, torch.cat([head, ids(2)]), ids(9), head]
    responses = [ids(count) for count in (3, 1, 1, 4, 2, 5)]
    return [
        LabelledSample(index + 1, prompt, response, index % 2, "in", str(index))
        for index, (prompt, response) in enumerate(
            zip(prompts, [*responses, responses[3]], strict=True)
        )
    ]


def by_hand(network, sample):
    """Hidden states and errors of a sample, by a pass and a backward pass of its own."""
    kept = []

    def keep(module, args, out):
        kept.extend((args[0][0], out.detach().requires_grad_(True)))
        return kept[1]

    handle = network.get_output_embeddings().register_forward_hook(keep)
    ids = torch.cat([sample.prompt_ids, sample.response_ids])
    logits = network(input_ids=ids[None], use_cache=False).logits[0]
    handle.remove()
    first = len(sample.prompt_ids) - 1
    logprobs = torch.log_softmax(logits[first:-1] / 0.7, dim=-1)
    total = logprobs.gather(1, sample.response_ids[:, None]).sum()
    (error,) = torch.autograd.grad(total, kept[1])
    return kept[0][first:-1].detach(), error[0, first:-1]


@pytest.mark.parametrize("name", ["qwen2", "llama", "gemma2", "cohere", "granite", "gpt2"])
def test_samples_that_share_a_pass_are_read_as_each_by_itself(name) -> None:
    network = computes_in_float64(tiny_model(name).double())
    model, samples = MeasuredModel(name, network, None), make_samples()
    found = {}
    for part in readouts(model, samples, temperature=0.7):
        for row, hidden, error in zip(
            part.rows.tolist(), part.hidden.split(part.sizes), part.error.split(part.sizes),
            strict=True,
        ):  # fmt: skip
            found[row] = hidden, error
    assert sorted(found) == list(range(len(samples)))
    expected = [by_hand(network, sample) for sample in samples]
    for row, (hidden, error) in enumerate(expected):
        assert torch.allclose(found[row][0], hidden, atol=1e-12)
        assert torch.allclose(found[row][1], error, atol=1e-12)
    gradients = torch.stack([(error.T @ hidden).flatten() for hidden, error in expected])
    matrix = gradients @ gradients.T
    for memory in (2**30, 2000):
        assert torch.allclose(coupling_matrix(model, samples, 0.7, memory), matrix, rtol=1e-9)
    lengths = torch.tensor([s.num_response_tokens for s in samples]).double()
    label = torch.tensor([s.label for s in samples])
    scaled = matrix / lengths[:, None] / lengths
    off = ~torch.eye(len(samples), dtype=torch.bool)
    gap = measure_gaps(model, samples, 0.7).raw["in"]
    assert gap.pp == pytest.approx(float(scaled[(label[:, None] * label == 1) & off].mean()))
    assert gap.pn == pytest.approx(float(scaled[(label[:, None] - label) == 1].mean()))


def test_a_small_model_is_read_by_the_fused_pass_in_float64_too(monkeypatch) -> None:
    seen = []

    def fused_readout(*given):
        seen.append(given)
        return forward.fused_readout(*given)

    monkeypatch.setattr(readout, "fused_readout", fused_readout)
    network = computes_in_float64(tiny_model("qwen2").double())
    wrapped = [vars(module).get("forward") for module in network.modules()]
    parts = list(readouts(MeasuredModel("qwen2", network, None), make_samples()))
    assert len(seen) == len(parts) > 1  # Those that share a beginning are apart.
    part, before = parts[0], len(seen)
    assert part.hidden.dtype == part.error.dtype == torch.float64
    assert [vars(module).get("forward") for module in network.modules()] == wrapped
    assert any(wrapped)
    list(readouts(MeasuredModel("gemma2", tiny_model("gemma2"), None), make_samples()))
    assert len(seen) == before

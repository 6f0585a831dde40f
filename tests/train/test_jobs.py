"""What passes between the processes of a run arrives as it was sent; a job does what it says."""

import pickle
from types import SimpleNamespace

import pytest
import torch
from builders import make_step
from tiny_models import tiny_model

from declutch.config.algorithm import LossConfig
from declutch.ground.errors import UserError
from declutch.learner.lesson import Passes, PassSettings, PolicyLesson
from declutch.learner.samples import build_samples
from declutch.records import Role
from declutch.train.jobs import (
    DONE,
    EXHAUSTED,
    FAILED,
    PART,
    REFUSED,
    LearnJob,
    dump,
    dump_weights,
    load_weights,
    read,
)

STEPS = [make_step(prompt=(1, 2, 3), response=(4, 5)), make_step(prompt=(1, 2), response=(6,))]


def lesson(run_passes=Passes.run):
    settings = PassSettings(LossConfig(kl_coef=0.0), 1.0, 8, 0, 4)
    samples = build_samples(STEPS, torch.tensor([1.0, -2.0]), Role.AGENT)
    return PolicyLesson(samples, settings, run_passes)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6).reshape(2, 3).t(),
        torch.tensor([1.5, float("nan"), float("-inf")], dtype=torch.bfloat16),
        torch.tensor([[True, False]]),
        torch.tensor(3.25, dtype=torch.float64),
        torch.tensor(-7, dtype=torch.int8).expand(4),
        torch.empty(0, 5, dtype=torch.int16),
    ],
)
def test_tensors_arrive_bit_for_bit_and_can_be_written_to(tensor):
    (there, _), (same, _) = pickle.loads(dump([(tensor, "a"), (tensor, "b")]))
    assert there.dtype == tensor.dtype
    assert there.shape == tensor.shape
    assert torch.equal(there.nan_to_num(), tensor.nan_to_num())
    assert torch.equal(there.isnan(), tensor.isnan())
    assert same is there
    there.zero_()
    assert not there.any()


def test_an_answer_says_what_it_is():
    assert read(DONE + dump([1, 2])) == [1, 2]
    assert read(PART + dump("half")) == "half"
    with pytest.raises(UserError, match="no games"):
        read(REFUSED + dump("no games"))
    with pytest.raises(RuntimeError, match=r"(?s)beside this one failed.*ZeroDivisionError: why"):
        read(FAILED + dump("Traceback\nZeroDivisionError: why"))
    with pytest.raises(MemoryError, match="beside this one failed"):
        read(EXHAUSTED + dump("Traceback\nMemoryError"))


def test_a_job_is_done_with_the_weights_that_came_with_it():
    model, other = tiny_model("qwen2", seed=1), tiny_model("qwen2", seed=2)
    frozen = next(iter(other.parameters()))
    for each in (model, other):
        next(iter(each.parameters())).requires_grad_(False)
    before = frozen.clone()
    load_weights(other, dump_weights(model))
    assert torch.equal(frozen, before)
    pairs = list(zip(model.parameters(), other.parameters(), strict=True))[1:]
    assert pairs
    assert all(torch.equal(mine, its) for mine, its in pairs)


def test_learning_gives_the_gradient_and_leaves_none():
    model, sent = tiny_model("qwen2"), []
    expected = lesson().backward(model, [0, 1])
    gradient = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()

    def keep(passes, model):
        sent.append(passes)
        return passes.run(model)

    lesson(keep).backward(model, [0, 1])
    model.zero_grad()
    model.train()
    worker = SimpleNamespace(policy=SimpleNamespace(model=model))
    sums, found = LearnJob(sent[0]).do(worker, None)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(gradient, found, strict=True))
    assert sums.num_tokens == expected.num_tokens == 3
    assert sums.loss == expected.loss

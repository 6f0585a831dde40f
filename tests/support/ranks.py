"""Rows of both roles, losses, and the learner's gradient on them, for tests of a cluster."""

from dataclasses import replace

import torch
from builders import make_samples, update_on
from tiny_models import tiny_model

from declutch.cluster.loss import Row
from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.learner.update import Randomness
from declutch.records import Role

V = 24
MAX_TOKENS = 24
TEMPERATURE = 0.7


class Caught(torch.optim.Optimizer):
    """Keeps the gradient of a step, and changes nothing."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 1.0})
        self.gradient = []

    def step(self, closure=None):
        (group,) = self.param_groups
        self.gradient = [parameter.grad.clone() for parameter in group["params"]]


def samples():
    """The agent's and the judge's, of unequal lengths; their sampler lies off the old policy."""
    draw = torch.Generator().manual_seed(9)
    found = []
    for count, seed, role in ((11, 1, Role.AGENT), (8, 2, Role.JUDGE)):
        for sample in make_samples(count, V, seed, role=role, masked=False, copies=2):
            noise = -0.5 + 0.8 * torch.randn(sample.response_ids.shape, generator=draw)
            found.append(replace(sample, sample_logprobs=sample.old_logprobs + noise))
    return found[:11], found[11:]


def learner_gradient(agent, judge, loss, weight):
    """What `learner.update` would step by, with everything in one optimizer step."""
    model = tiny_model("qwen2", V)
    optimizer = Caught(model.parameters())
    opt = OptimizerConfig(mini_batch=1000, grad_clip=1e9, micro_batch_tokens=64)
    draws = Randomness(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    gcd = GCDConfig(weight=weight)
    update_on(model, optimizer, agent, judge, loss, opt, gcd, TEMPERATURE, draws)
    return optimizer.gradient


def rows_of(given, has_reference):
    return [
        Row(
            sample.prompt_ids,
            sample.response_ids,
            sample.role is Role.JUDGE,
            sample.advantage,
            sample.sample_logprobs,
            sample.old_logprobs,
            sample.ref_logprobs if has_reference else None,
        )
        for sample in given
    ]


LOSSES = {
    "plain": LossConfig(kl_coef=0.0),
    "kl": LossConfig(kl_coef=0.05, clip_high=0.3),
    "sequences": LossConfig(kl_coef=0.0, aggregation="seq-mean-token-mean"),
    "norm": LossConfig(kl_coef=0.02, aggregation="seq-mean-token-sum-norm"),
    "gspo": LossConfig(kl_coef=0.0, ratio="sequence", clip_low=0.1, importance_cap=1.2),
}

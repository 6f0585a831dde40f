"""Coupling the slow and obvious way: one backward pass a sample, whole gradients in float64.

Norms are replaced by plain float64 arithmetic, so that nothing of the package is used.
"""

import math
from itertools import combinations

import torch
from transformers import AutoModelForCausalLM


class PlainNorm(torch.nn.Module):
    """A root-mean-square norm in the type of what it is given."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def load_plain(folder):
    """The model of a folder in true float64: Qwen2 or Llama."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="sdpa"
    ).eval()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                setattr(module, name, PlainNorm(child))
    return model


def token_logprobs(model, row):
    """Log-probabilities f64[T] of a row's response."""
    ids = torch.tensor(row["prompt_ids"] + row["response_ids"])
    logprobs = torch.log_softmax(model(input_ids=ids[None]).logits[0], dim=-1)
    first = len(row["prompt_ids"]) - 1
    return torch.stack([logprobs[first + k, y] for k, y in enumerate(row["response_ids"])])


def gradient(model, row, keep=lambda name: True):
    """The gradient of a row's summed log-probability over the parameters that `keep` names."""
    named = [(name, each) for name, each in model.named_parameters() if keep(name)]
    found = torch.autograd.grad(token_logprobs(model, row).sum(), [each for _, each in named])
    return torch.cat([each.flatten() for each in found])


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def split_half(gradients, episodes):
    """Spearman-Brown of the mean cosine over all halves of the episodes."""
    names = sorted(set(episodes))
    found = []
    for chosen in combinations(names, len(names) // 2):
        first = sum(g for g, e in zip(gradients, episodes, strict=True) if e in chosen)
        second = sum(g for g, e in zip(gradients, episodes, strict=True) if e not in chosen)
        found.append(cosine(first, second))
    mean = sum(found) / len(found)
    return 2 * mean / (1 + mean)


def corrected(left, right):
    """The cosine of means from pairs of different samples only."""

    def square(gradients):
        pairs = [float(a @ b) for a in gradients for b in gradients if a is not b]
        return sum(pairs) / len(pairs)

    across = [float(a @ b) for a in left for b in right]
    norms = square(left), square(right)
    if min(norms) <= 0:
        return math.nan
    return sum(across) / len(across) / math.sqrt(norms[0] * norms[1])

"""The classifier that speaks no words: one linear layer on the actor's last hidden state.

The ablation of the generative judge. It reads the judge's own prompt (the agent's prompt and its
whole response) and says from the hidden state at its end whether the step was good; nothing is
sampled. Source: RM appendix B, table 3 and figure 10(b).

Notation: K examples, P prompt tokens, D hidden.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from declutch.config.algorithm import OptimizerConfig
from declutch.ground.errors import UserError
from declutch.learner.optimizer import build_optimizer
from declutch.learner.restore import restore_module, restore_optimizer
from declutch.learner.update_stats import PartSums
from declutch.models.checkpointing import checkpointing
from declutch.models.manifest import check_further_file
from declutch.models.mode import evaluation_mode
from declutch.models.precision import computing

HEAD_FILE = "value_head.pt"


@dataclass(frozen=True)
class Labelled:
    """What the learner's value head learns from: a prompt, i64[P], and 1 for good or 0 for bad."""

    prompt_ids: Tensor
    label: int


@dataclass(frozen=True)
class ValueHead:
    """The learner's value head: a linear layer, f32[D] -> f32[1], with an optimizer of its own.

    The layer follows its own loss whatever share of the gradient reaches the backbone, and is
    clipped by itself: at `gcd.weight` 0 it is a linear probe of the embeddings that the agent's
    task alone makes.
    """

    layer: nn.Linear
    optimizer: torch.optim.Optimizer

    def step(self, grad_clip: float) -> None:
        """Train the layer on the gradient it has, and clear that; without one nothing happens."""
        nn.utils.clip_grad_norm_(self.layer.parameters(), grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """What `restore` puts back."""
        return {"layer": self.layer.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put layer and optimizer back where they were."""
        what = "the checkpoint's value head"
        restore_module(self.layer, state.get("layer"), what)
        restore_optimizer(self.optimizer, state.get("optimizer"), what)


@dataclass(frozen=True)
class Classification:
    """What a value head learns from in one iteration: labelled prompts to classify.

    Attributes:
        head: updated in place.
        examples: labelled prompts.
        budget, pad_id: as in `classify`.
    """

    head: ValueHead
    examples: Sequence[Labelled]
    budget: int
    pad_id: int

    @property
    def prompts(self) -> Sequence[Tensor]:
        return [example.prompt_ids for example in self.examples]

    @property
    def has_kl(self) -> bool:
        return False

    def backward(self, model: nn.Module, chosen: Sequence[int]) -> PartSums:
        """Add the gradient of the chosen examples' mean loss to the backbone's and the layer's."""
        examples = [self.examples[index] for index in chosen]
        total = 0.0
        prompts = [example.prompt_ids for example in examples]
        for batch in split_prompts(prompts, self.budget):
            chosen_prompts, labels = [prompts[i] for i in batch], [examples[i].label for i in batch]
            with checkpointing(model):
                logits = read_logits(model, self.head.layer, chosen_prompts, self.pad_id)
                loss = classification_loss(logits, labels, len(examples))
                loss.backward()
            total += float(loss.detach())
        num_tokens = sum(prompt.numel() for prompt in prompts)
        return PartSums(num_samples=len(examples), num_forward_tokens=num_tokens, loss=total)

    def step(self, grad_clip: float) -> None:
        """Train the head's own layer."""
        self.head.step(grad_clip)


def make_layer(model: Any, generator: torch.Generator) -> nn.Linear:
    """Make a value head's fresh linear layer on the model's device; its logits are of order 1."""
    size = model.config.get_text_config().hidden_size
    layer = nn.Linear(size, 1)
    with torch.no_grad():
        layer.weight.normal_(0.0, size**-0.5, generator=generator)
        layer.bias.zero_()
    return layer.to(model.device)


def classification_loss(logits: Tensor, labels: Sequence[int], normalizer: int) -> Tensor:
    """The loss of the learner's value head: the binary cross-entropy of its logits in nats.

    It is summed over the examples and divided by `normalizer`.

    Args:
        logits: f32[K], log-odds of "good".
        labels: K of 1 (good) or 0 (bad).
    """
    target = torch.tensor(labels, dtype=logits.dtype, device=logits.device)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / normalizer


def classify(
    model: Any, layer: nn.Linear, prompts: Sequence[Tensor], budget: int, pad_id: int
) -> Tensor:
    """The learner's value head's log-odds, f32[K], that prompts end with a good step.

    No gradient flows.

    Args:
        prompts: K tensors i64[P].
        budget: tokens of one forward pass, padding included.
        pad_id: any token of the vocabulary.
    """
    logits = torch.zeros(len(prompts))
    with evaluation_mode(model), torch.no_grad():
        for batch in split_prompts(prompts, budget):
            logits[batch] = read_logits(model, layer, [prompts[i] for i in batch], pad_id).cpu()
    return logits


def read_logits(model: Any, layer: nn.Linear, prompts: Sequence[Tensor], pad_id: int) -> Tensor:
    """A value head's logits of some prompts, f32[K], differentiable, from one forward pass."""
    length = torch.tensor([prompt.numel() for prompt in prompts])
    input_ids = torch.full((len(prompts), int(length.max())), pad_id)
    for row, prompt in enumerate(prompts):
        input_ids[row, : prompt.numel()] = prompt
    # Right padding under causal attention needs no mask: no token attends to what follows it.
    with computing(model):
        hidden = model.base_model(input_ids=input_ids.to(model.device), use_cache=False)
    end = hidden.last_hidden_state[torch.arange(len(prompts)), length - 1]  # [K, D]
    logits: Tensor = layer(end.to(layer.weight.dtype))[:, 0]
    return logits


def split_prompts(prompts: Sequence[Tensor], budget: int) -> Iterator[list[int]]:
    """Split the prompts that a value head classifies among passes; `budget` counts padding."""
    order = sorted(range(len(prompts)), key=lambda index: -prompts[index].numel())
    while order:
        size = max(1, budget // prompts[order[0]].numel())
        yield order[:size]
        order = order[size:]


def layer_bytes(layer: nn.Linear) -> bytes:
    """A value head's layer as the content of a model folder's `value_head.pt`."""
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    return buffer.getvalue()


def load_layer(layer: nn.Linear, folder: Path) -> bool:
    """Load a value head's layer from beside a model's weights; false where there is none.

    Raises:
        UserError: a damaged file, or a layer of another width.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        return False
    check_further_file(folder, HEAD_FILE)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # Whatever a damaged file makes of itself: the unpickler and its pieces raise many types.
    except Exception as error:
        reason = str(error).splitlines()[-1].strip() if str(error) else "it ends too early"
        raise UserError(f"{path} does not fit the model: {reason}; repeat the cold start") from None
    restore_module(layer, state, str(path))
    return True


def start_head(
    folder: str, model: PreTrainedModel, optimizer: OptimizerConfig, generator: torch.Generator
) -> ValueHead:
    """The learner's value head from beside the weights in a model's `folder`, or a fresh one.

    Args:
        optimizer: the head's own, as of `head_optimizer`.
        generator: draws the weights of a fresh head.
    Raises:
        UserError: a damaged head, or one of another width than the model's.
    """
    layer = make_layer(model, generator)
    load_layer(layer, Path(folder))
    return ValueHead(layer, build_optimizer(layer, optimizer))


def head_optimizer(config: OptimizerConfig, rate: float) -> OptimizerConfig:
    """Settings of the optimizer of the learner's value head, made of the policy's.

    Only the learning rate is its own.
    """
    return config.model_copy(update={"lr": rate})

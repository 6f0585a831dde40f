"""What one part of an update teaches: its examples, and the gradient of the loss over some of them.

An optimizer step sums the gradients of at most two lessons: the agent's own, and an auxiliary
task's (judging in words, a value head, prediction, or one of your own).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor, nn

from declutch.config.algorithm import LossConfig
from declutch.learner.forward import sharing_break_even, token_logprobs, vocabulary_size
from declutch.learner.loss import loss_normalizer, policy_loss
from declutch.learner.pack import pack
from declutch.learner.samples import Sample, has_no_gradient
from declutch.learner.update_stats import PartSums
from declutch.models.checkpointing import checkpointing
from declutch.records import TokenBatch


class Lesson(Protocol):
    """A lesson of an update, the agent's or a task's: its examples and their gradient."""

    @property
    def prompts(self) -> Sequence[Tensor]:
        """Each example's prompt, i64[P]; examples of equal prompts stay in one optimizer step."""

    @property
    def has_kl(self) -> bool:
        """Whether the loss holds the model to a reference."""

    def backward(self, model: nn.Module, chosen: Sequence[int]) -> PartSums:
        """Add the gradient of the chosen examples' loss to the parameters' `grad`.

        Args:
            chosen: indices of examples, at least one; the loss is normalised by these.
        """

    def step(self, grad_clip: float) -> None:
        """Train parameters of the lesson's own, if it has any, on the gradient they have."""


@dataclass(frozen=True)
class PassSettings:
    """What each `Lesson` has to know to run its passes: tokens a pass, temperature, and so on.

    Attributes:
        loss: the policy loss.
        temperature: what the responses were sampled at.
        token_budget: tokens of one pass, padding included.
        pad_id: any token of the vocabulary.
        max_response_tokens: the limit of a response; "seq-mean-token-sum-norm" divides by it.
        skip_idle: leave samples out that cannot move the policy; changes nothing but rounding.
            Clip share, divergence and entropy are then over the rest.
        share_prompts: compute what prompts have in common once, where the model can; changes
            nothing but rounding.
    """

    loss: LossConfig
    temperature: float
    token_budget: int
    pad_id: int
    max_response_tokens: int
    skip_idle: bool = True
    share_prompts: bool = True


@dataclass(frozen=True)
class Passes:
    """The passes through the model by which a lesson teaches some of its examples.

    Attributes:
        batches: one of each pass.
        settings: the loss, and the temperature.
        normalizer: what the loss of all of them together is divided by.
    """

    batches: Sequence[TokenBatch]
    settings: PassSettings
    normalizer: float

    def run(self, model: nn.Module) -> PartSums:
        """Add the gradient of all passes' loss to the parameters' `grad`, one after the other."""
        sums = PartSums()
        for batch in self.batches:
            with checkpointing(model):
                logprobs, entropy = token_logprobs(model, batch, self.settings.temperature)
                part, stats = policy_loss(logprobs, batch, self.settings.loss, self.normalizer)
                part.backward()
            sums = sums.add(batch, part.detach(), stats, logprobs.detach(), entropy)
        return sums


@dataclass(frozen=True)
class PolicyLesson:
    """The lesson of sampled responses with their advantages, taught by the clipped policy loss.

    Attributes:
        run_passes: runs the passes of an optimizer step, which adds their gradient to the
            parameters' `grad`; in this process, unless told otherwise.
    Raises:
        ValueError: a divergence from a reference is asked for and a sample has none.
    """

    samples: Sequence[Sample]
    settings: PassSettings
    run_passes: Callable[[Passes, nn.Module], PartSums] = Passes.run

    def __post_init__(self) -> None:
        if self.has_kl and any(sample.ref_logprobs is None for sample in self.samples):
            coefficient = self.settings.loss.kl_coef
            raise ValueError(f"loss.kl_coef={coefficient} needs the reference's log-probabilities")

    @property
    def prompts(self) -> Sequence[Tensor]:
        return [sample.prompt_ids for sample in self.samples]

    @property
    def has_kl(self) -> bool:
        return self.settings.loss.kl_coef > 0

    def backward(self, model: nn.Module, chosen: Sequence[int]) -> PartSums:
        settings, loss = self.settings, self.settings.loss
        samples = [self.samples[index] for index in chosen]
        num_tokens = sum(sample.response_ids.numel() for sample in samples)
        normalizer = loss_normalizer(num_tokens, len(samples), loss, settings.max_response_tokens)
        active = [
            sample
            for sample in samples
            if not (settings.skip_idle and has_no_gradient(sample, loss.kl_coef))
        ]
        break_even = sharing_break_even(model) if settings.share_prompts else None
        batches = pack(
            active, settings.token_budget, settings.pad_id, vocabulary_size(model), break_even
        )
        sums = self.run_passes(Passes(batches, settings, normalizer), model)
        return replace(sums, num_samples=len(samples), num_skipped=len(samples) - len(active))

    def step(self, grad_clip: float) -> None:
        """Nothing: the policy's parameters are the optimizer's of the whole update."""

"""Training samples: one step's tokens with everything the loss needs to know about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from declutch.records import Role, Step


@dataclass(frozen=True)
class Sample:
    """One of the learner's samples: a prompt, its response of T tokens, what the loss needs.

    Attributes:
        step_id: the caller's number of the step.
        role: whose loss it belongs to.
        prompt_ids: i64[P], P >= 1.
        response_ids: i64[T].
        allowed_ids: as `Step.allowed_ids`.
        advantage, sample_logprobs, old_logprobs: f32[T].
        ref_logprobs: f32[T], or None where no divergence from a reference is asked for.
        old_values, returns: f32[T], what a critic said before its update and what it is to say;
            None where there is none.
    """

    step_id: int
    role: Role
    prompt_ids: Tensor
    response_ids: Tensor
    allowed_ids: tuple[tuple[int, ...] | None, ...]
    advantage: Tensor
    sample_logprobs: Tensor
    old_logprobs: Tensor
    ref_logprobs: Tensor | None = None
    old_values: Tensor | None = None
    returns: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        return self.prompt_ids.numel() + self.response_ids.numel()


def build_samples(
    steps: Sequence[Step],
    advantages: Tensor | Sequence[Tensor],
    role: Role,
    old_logprobs: Sequence[Tensor] | None = None,
    ref_logprobs: Sequence[Tensor] | None = None,
    masked: bool = True,
) -> tuple[Sample, ...]:
    """Make the learner's samples, one of each step, in order; `step_id` is the step's index.

    Args:
        steps: S steps.
        advantages: f32[S], the same for every token of a step, or S tensors f32[T].
        old_logprobs: S tensors f32[T]; None takes the sampling engine's.
        ref_logprobs: S tensors f32[T]; None where no KL is asked for.
        masked: keep the action masks; a model that says nothing about tokens has no use for them.
    Raises:
        ValueError: an empty prompt, or tensors that do not match the response they belong to.
    """
    old = [step.sample_logprobs for step in steps] if old_logprobs is None else old_logprobs
    ref = [None] * len(steps) if ref_logprobs is None else ref_logprobs
    samples = tuple(
        Sample(
            step_id=index,
            role=role,
            prompt_ids=step.prompt_ids,
            response_ids=step.response_ids,
            allowed_ids=step.allowed_ids if masked else (),
            advantage=_per_token(advantage.float(), step),
            sample_logprobs=step.sample_logprobs,
            old_logprobs=old_step,
            ref_logprobs=ref_step,
        )
        for index, (step, advantage, old_step, ref_step) in enumerate(
            zip(steps, advantages, old, ref, strict=True)
        )
    )
    for sample in samples:
        _check(sample)
    return samples


def _per_token(advantage: Tensor, step: Step) -> Tensor:
    return advantage.expand(step.response_ids.numel()) if advantage.dim() == 0 else advantage


def has_no_gradient(sample: Sample, kl_coef: float) -> bool:
    """Whether a learner's sample cannot move the policy: no advantage, and no reference pull."""
    return kl_coef == 0 and not bool(sample.advantage.any())


def _check(sample: Sample) -> None:
    if sample.prompt_ids.numel() == 0:
        raise ValueError(
            f"step {sample.step_id} has an empty prompt: nothing predicts its response"
        )
    length = sample.response_ids.shape
    fields = {
        "advantage": sample.advantage,
        "sample_logprobs": sample.sample_logprobs,
        "old_logprobs": sample.old_logprobs,
        "ref_logprobs": sample.ref_logprobs,
        "old_values": sample.old_values,
        "returns": sample.returns,
    }
    for name, value in fields.items():
        if value is not None and value.shape != length:
            raise ValueError(
                f"step {sample.step_id}: {name} has shape {tuple(value.shape)}, "
                f"its response {tuple(length)}"
            )
    if sample.allowed_ids and len(sample.allowed_ids) != length[0]:
        raise ValueError(
            f"step {sample.step_id}: {len(sample.allowed_ids)} allowed sets for {length[0]} tokens"
        )

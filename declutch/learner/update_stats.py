"""What an update reports about itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from torch import Tensor

from declutch.learner.loss import LossStats
from declutch.records import TokenBatch


@dataclass(frozen=True)
class PartSums:
    """One role's sums for an update's statistics, over an optimizer step: tokens, loss, divergence.

    Attributes:
        num_forward_tokens: prompt and response tokens computed, padding apart.
        num_tokens: response tokens computed.
        mismatch, mismatch_max: |sampling engine's - learner's log-probability|, sum and maximum.
    """

    num_samples: int = 0
    num_skipped: int = 0
    num_forward_tokens: int = 0
    num_tokens: int = 0
    num_clipped: int = 0
    num_capped: int = 0
    loss: float = 0.0
    kl: float = 0.0
    entropy: float = 0.0
    mismatch: float = 0.0
    mismatch_max: float = 0.0

    def add(
        self, batch: TokenBatch, loss: Tensor, stats: LossStats, logprobs: Tensor, entropy: Tensor
    ) -> PartSums:
        """These sums with one more micro-batch."""
        gap = (logprobs.cpu() - batch.sample_logprobs)[batch.response_mask].abs()
        return replace(
            self,
            num_forward_tokens=self.num_forward_tokens + int((batch.segment_ids >= 0).sum()),
            num_tokens=self.num_tokens + stats.num_tokens,
            num_clipped=self.num_clipped + stats.num_clipped,
            num_capped=self.num_capped + stats.num_capped,
            loss=self.loss + float(loss),
            kl=self.kl + stats.kl,
            entropy=self.entropy + float(entropy.sum()),
            mismatch=self.mismatch + float(gap.sum()),
            mismatch_max=max(self.mismatch_max, float(gap.max()) if gap.numel() else 0.0),
        )

    def plus(self, other: PartSums) -> PartSums:
        """These sums with those of other micro-batches."""
        both = {
            each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)
        }
        return PartSums(**{**both, "mismatch_max": max(self.mismatch_max, other.mismatch_max)})


@dataclass(frozen=True)
class StepStats:
    """Update statistics of a single optimizer step; norms are from before clipping."""

    agent: PartSums
    judge: PartSums | None
    agent_norm: float
    judge_norm: float | None
    judge_scale: float
    cosine: float | None
    grad_norm: float


@dataclass(frozen=True)
class PartStats:
    """Update statistics of one role, the agent or the judge.

    Attributes:
        num_samples: samples given, each counted once a pass.
        num_skipped: of these, samples that cannot move the policy and were not computed.
        num_tokens: response tokens computed; the shares and means below are over these and None
            where there are none.
        num_forward_tokens: prompt and response tokens computed, padding apart.
        loss: mean over the optimizer steps.
        kl: mean k3 divergence from the reference, nats; None where none is asked for.
        entropy: mean, nats, under the action mask.
        clip_share: tokens whose ratio was clipped.
        capped_share: tokens whose importance weight hit the cap.
        grad_norm: mean over the optimizer steps, before weighting and clipping; None where it was
            not measured.
    """

    num_samples: int
    num_skipped: int
    num_tokens: int
    num_forward_tokens: int
    loss: float
    kl: float | None
    entropy: float | None
    clip_share: float | None
    capped_share: float | None
    grad_norm: float | None


@dataclass(frozen=True)
class UpdateStats:
    """Update statistics of one iteration of the policy, both roles together.

    Attributes:
        num_steps: optimizer steps.
        agent: the agent's part; judge: the judge's, None where there were no judge samples.
        grad_norm: of the combined gradient before clipping, mean over the steps.
        cosine: between the agent's and the judge's gradient, mean over the steps that have both;
            None also where it was not measured.
        judge_scale: what the judge's gradient was multiplied by, mean over those steps.
        mismatch_mean, mismatch_max: |sampling engine's - learner's log-probability| over the
            first optimizer step, when the weights are still those that sampled; None if all its
            samples were skipped.
    """

    num_steps: int
    agent: PartStats
    judge: PartStats | None
    grad_norm: float
    cosine: float | None
    judge_scale: float | None
    mismatch_mean: float | None
    mismatch_max: float | None


def summarise(steps: Sequence[StepStats], agent_has_kl: bool, judge_has_kl: bool) -> UpdateStats:
    """Sum up the statistics of an update from those of its optimizer steps (at least one).

    Args:
        agent_has_kl, judge_has_kl: whether either part's loss holds the model to a reference.
    """
    with_judge = [step for step in steps if step.judge is not None]
    judge = None
    if with_judge:
        judge = _summarise_part(
            [step.judge for step in with_judge if step.judge is not None],
            [step.judge_norm for step in with_judge if step.judge_norm is not None],
            judge_has_kl,
        )
    first = [part for part in (steps[0].agent, steps[0].judge) if part is not None]
    mismatch_mean, mismatch_max = sum_mismatch(first)
    return UpdateStats(
        num_steps=len(steps),
        agent=_summarise_part(
            [step.agent for step in steps], [step.agent_norm for step in steps], agent_has_kl
        ),
        judge=judge,
        grad_norm=sum(step.grad_norm for step in steps) / len(steps),
        cosine=_mean([step.cosine for step in steps if step.cosine is not None]),
        judge_scale=_mean([step.judge_scale for step in with_judge]),
        mismatch_mean=mismatch_mean,
        mismatch_max=mismatch_max,
    )


def sum_mismatch(parts: Sequence[PartSums]) -> tuple[float | None, float | None]:
    """Update statistics: how far sampler and learner are apart, mean and maximum over the tokens.

    None where no token was computed.
    """
    num_tokens = sum(part.num_tokens for part in parts)
    if not num_tokens:
        return None, None
    mean = sum(part.mismatch for part in parts) / num_tokens
    return mean, max(part.mismatch_max for part in parts)


def _summarise_part(parts: Sequence[PartSums], norms: Sequence[float], has_kl: bool) -> PartStats:
    num_tokens = sum(part.num_tokens for part in parts)

    def per_token(total: float) -> float | None:
        return total / num_tokens if num_tokens else None

    return PartStats(
        num_samples=sum(part.num_samples for part in parts),
        num_skipped=sum(part.num_skipped for part in parts),
        num_tokens=num_tokens,
        num_forward_tokens=sum(part.num_forward_tokens for part in parts),
        loss=sum(part.loss for part in parts) / len(parts),
        kl=per_token(sum(part.kl for part in parts)) if has_kl else None,
        entropy=per_token(sum(part.entropy for part in parts)),
        clip_share=per_token(sum(part.num_clipped for part in parts)),
        capped_share=per_token(sum(part.num_capped for part in parts)),
        grad_norm=_mean(norms),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

"""Learn on a cluster: the training loop's learner, whose model lies on many GPUs and nodes.

It plays, credits and asks as the learner of one GPU does. Only the passes over the model are the
workers' of `declutch.cluster`: log-probabilities, and the gradient of each optimizer step, of the
same mini-batches and by the same loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from declutch.agent.speaker import Agent
from declutch.cluster.loss import Row, role_weights
from declutch.cluster.play import make_codec
from declutch.cluster.verl import StepSums, Workers
from declutch.config.run import Config
from declutch.credit.registry import Method, agent_advantage, find_method
from declutch.credit.table import build_table
from declutch.ground.errors import UserError
from declutch.ground.streams import stream
from declutch.judge.round import JudgeRound
from declutch.judge.tasks import Answers, AuxiliaryTask, make_task
from declutch.learner.checkpoint import Checkpoint, save_checkpoint
from declutch.learner.update import LARGEST_MISMATCH, Randomness, plan_steps
from declutch.learner.update_stats import PartSums, StepStats, UpdateStats, summarise
from declutch.records import Episode, Step
from declutch.rollout.collect import collect
from declutch.rollout.groups import Collect
from declutch.rollout.policy import Policy
from declutch.train.learn import OTHER_MISMATCH, Credited, Learned

RATE = "learning_rate"
"""Name of the rate in a checkpoint, which verl goes on with whatever the settings say then."""


@dataclass(frozen=True)
class ClusterLesson:
    """What a role teaches on a cluster in an iteration: rows, whose gradient the workers compute.

    Attributes:
        rows: one a step, with advantages.
    """

    rows: tuple[Row, ...]

    @property
    def prompts(self) -> Sequence[Tensor]:
        return [row.prompt_ids for row in self.rows]

    @property
    def has_kl(self) -> bool:
        return any(row.ref_logprobs is not None for row in self.rows)

    def backward(self, model: nn.Module, chosen: Sequence[int]) -> PartSums:
        """Not here: no whole model is in this process."""
        raise NotImplementedError("the workers of the cluster compute the gradient")

    def step(self, grad_clip: float) -> None:
        """Nothing: it has no parameters of its own."""


@dataclass(frozen=True)
class ClusterLearner:
    """The training run's learner on a cluster: who plays and learns there, and what is credited.

    Attributes:
        method: how steps are credited.
        policy: the actor; its model is an outline without weights.
        task: what the actor learns beside acting; None where `gcd.enabled` is false.
    """

    config: Config
    method: Method
    policy: Policy
    task: AuxiliaryTask | None
    workers: Workers

    @classmethod
    def start(cls, config: Config, checkpoint: Checkpoint | None) -> ClusterLearner:
        """From `config.model.path`, or from where a checkpoint left off.

        Raises:
            UserError: settings that a cluster cannot honour, a checkpoint of another kind of run,
                a cluster that does not start.
        """
        if checkpoint is not None:
            _check_rate(config, checkpoint)
        workers = Workers.start(config, checkpoint.path if checkpoint else None)
        codec = make_codec(config, workers.outline.generation_config)
        agent = Agent(codec, config.agent)
        policy = Policy(workers.outline, codec.tokenizer, codec, agent, workers.engine)
        task = make_task(config, policy) if config.gcd.enabled else None
        return cls(config, find_method(config.algorithm.type), policy, task, workers)

    @property
    def collect(self) -> Collect:
        """What plays the episodes of an iteration: the cluster's players."""
        return self.workers.players.collect

    @property
    def collect_evaluated(self) -> Collect:
        """What plays the games of an evaluation: this process, which asks the servers."""
        return collect

    def close(self) -> None:
        """Nothing: the cluster ends with this process."""

    def is_warming(self, iteration: int) -> bool:
        """Never: there is no critic."""
        del iteration
        return False

    def credit(self, episodes: Sequence[Episode]) -> Credited:
        """Say what each token of an iteration's episodes is worth, by the run's method."""
        config = self.config
        table, steps = build_table(episodes, self.method.similarity(config.algorithm))
        advantage = agent_advantage(table, None, config.algorithm, config.train.format_penalty)
        return Credited(table, steps, None, advantage)

    def update(self, credited: Credited, judged: JudgeRound, iteration: int) -> Learned:
        """Have the workers train the policy on one iteration's steps and judgments.

        Args:
            iteration: from 0.
        Raises:
            UserError: diverged; log-probabilities of servers and learner that lie apart; a worker
                that died.
        """
        config = self.config
        by_step = credited.advantage.split(credited.table.num_tokens.tolist())
        agent = _make_rows(credited.steps, by_step, is_judge=False)
        judge = self._judge_rows(judged, iteration)
        self.workers.sleep()
        rows, entropies = self._look_up((*agent, *judge))
        agent, judge = rows[: len(agent)], rows[len(agent) :]
        mismatch = _mismatch(rows)
        self._check_mismatch(mismatch)
        draws = Randomness(
            agent=stream(config.seed, "update", iteration),
            judge=stream(config.seed, "update-judge", iteration),
        )
        prompts, questions = ([row.prompt_ids for row in part] for part in (agent, judge))
        steps = [
            self._step([agent[i] for i in agent_ids], [judge[i] for i in judge_ids])
            for _ in range(config.optimizer.epochs)
            for agent_ids, judge_ids in plan_steps(prompts, questions, config.optimizer, draws)
        ]
        self.workers.sync(iteration + 1)
        has_kl = config.loss.kl_coef > 0
        spread = [self._mean_entropy(rows, entropies, is_judge) for is_judge in (False, True)]
        stats = _with_whole(summarise(steps, has_kl, has_kl), mismatch, *spread)
        return Learned(stats, None, config.optimizer.lr)

    def save(self, path: Path, iteration: int, files: Mapping[str, bytes]) -> None:
        """Write a checkpoint: a Hugging Face folder, and every rank's part of the training state.

        Args:
            iteration: how many have been trained.
            files: further files of it by name.
        Raises:
            UserError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        parts: dict[str, Mapping[str, float]] = {RATE: {RATE: self.config.optimizer.lr}}
        written = _Written(self.workers)
        save_checkpoint(path, written, self.policy.tokenizer, None, iteration, parts, files)

    def _judge_rows(self, judged: JudgeRound, iteration: int) -> tuple[Row, ...]:
        """The rows of the auxiliary task; none where its weight is 0, which adds nothing."""
        if self.task is None or self.config.gcd.weight == 0:
            return ()
        lesson = self.task.lesson(
            judged.questions,
            Answers(judged.episodes, judged.scores),
            iteration,
            lambda steps, advantage: ClusterLesson(_make_rows(steps, advantage, is_judge=True)),
        )
        if lesson is None:
            return ()
        if not isinstance(lesson, ClusterLesson):
            raise UserError(
                f"gcd.task={self.config.gcd.task} teaches by a loss of its own, which no worker of "
                "a cluster computes; train with `declutch train`"
            )
        return lesson.rows

    def _look_up(self, rows: tuple[Row, ...]) -> tuple[tuple[Row, ...], list[Tensor]]:
        """The rows with what learner and reference give their tokens; the learner's entropies."""
        old, entropies = self.workers.logprobs(rows)
        found = [replace(row, old_logprobs=part) for row, part in zip(rows, old, strict=True)]
        if self.config.loss.kl_coef > 0:
            references, _ = self.workers.logprobs(rows, from_reference=True)
            pairs = zip(found, references, strict=True)
            found = [replace(row, ref_logprobs=part) for row, part in pairs]
        return tuple(found), entropies

    def _step(self, agent: list[Row], judge: list[Row]) -> StepStats:
        """One optimizer step on the rows of a mini-batch."""
        loss, gcd = self.config.loss, self.config.gcd
        limits = (self.config.agent.max_response_tokens, gcd.max_response_tokens)
        rows = [*agent, *judge]
        weights = role_weights(agent, loss, limits[0])
        weights += role_weights(judge, loss, limits[1], gcd.weight)
        active = [i for i, row in enumerate(rows) if self._is_active(row)]
        sums = self.workers.step([rows[i] for i in active], [weights[i] for i in active])
        return _step_stats(sums, agent, judge, [rows[i] for i in active], gcd.weight)

    def _is_active(self, row: Row) -> bool:
        """A row without an advantage cannot move the policy, but where a reference pulls at it."""
        return self.config.loss.kl_coef > 0 or bool(row.advantage.any())

    def _mean_entropy(
        self, rows: Sequence[Row], entropies: Sequence[Tensor], is_judge: bool
    ) -> float | None:
        """The mean over the tokens of a role that are learned from; None where there are none."""
        pairs = zip(rows, entropies, strict=True)
        own = [e for row, e in pairs if row.is_judge == is_judge and self._is_active(row)]
        return float(torch.cat(own).mean()) if own else None

    def _check_mismatch(self, mismatch: tuple[float, float]) -> None:
        """Stop before the first step where the samples are not of the policy that is to learn."""
        limit = self.config.loss.max_mismatch or OTHER_MISMATCH
        mean, largest = mismatch
        if mean > limit or largest > LARGEST_MISMATCH * limit:
            raise UserError(
                f"log-probabilities of the servers and of the learner lie {mean:.2g} nats apart on "
                f"average and {largest:.2g} at most, beyond loss.max_mismatch={limit} (one token "
                f"{LARGEST_MISMATCH:g} times that): the samples are of another policy than the one "
                "that learns; set model.dtype=float32, or raise loss.max_mismatch"
            )


@dataclass(frozen=True)
class _Written:
    """The model as one that can be saved."""

    workers: Workers

    def save_pretrained(self, folder: Path) -> None:
        self.workers.save(folder)


def _make_rows(
    steps: Sequence[Step], advantage: Tensor | Sequence[Tensor], is_judge: bool
) -> tuple[Row, ...]:
    """Steps as rows; `advantage` is f32[S], or S tensors f32[T]."""
    rows = []
    for step, own in zip(steps, advantage, strict=True):
        per_token = own.float().expand(step.response_ids.shape)
        logprobs = step.sample_logprobs
        rows.append(
            Row(step.prompt_ids, step.response_ids, is_judge, per_token, logprobs, logprobs)
        )
    return tuple(rows)


def _mismatch(rows: Sequence[Row]) -> tuple[float, float]:
    """|server's - learner's log-probability|, mean and maximum over all tokens."""
    gap = torch.cat([(row.old_logprobs - row.sample_logprobs).abs() for row in rows])
    return float(gap.mean()), float(gap.max())


def _step_stats(
    sums: StepSums, agent: list[Row], judge: list[Row], active: list[Row], weight: float
) -> StepStats:
    def part(rows: list[Row], told: Mapping[str, float], scale: float) -> PartSums:
        used = [row for row in active if row.is_judge == rows[0].is_judge]
        return PartSums(
            num_samples=len(rows),
            num_skipped=len(rows) - len(used),
            num_forward_tokens=sum(row.num_tokens for row in used),
            num_tokens=sum(row.response_ids.numel() for row in used),
            num_clipped=round(told["num_clipped"]),
            num_capped=round(told["num_capped"]),
            loss=told["loss"] / scale,
            kl=told["kl"],
        )

    return StepStats(
        agent=part(agent, sums.agent, 1.0),
        judge=part(judge, sums.judge, weight) if judge else None,
        # Both gradients are added up as they arise; their norms are not known apart.
        agent_norm=float("nan"),
        judge_norm=None,
        judge_scale=weight if any(row.is_judge for row in active) else 0.0,
        cosine=None,
        grad_norm=sums.grad_norm,
    )


def _with_whole(
    stats: UpdateStats,
    mismatch: tuple[float, float],
    entropy: float | None,
    judge_entropy: float | None,
) -> UpdateStats:
    """The statistics with what was measured over the rows before the first step."""
    agent = replace(stats.agent, grad_norm=None, entropy=entropy)
    judge = None if stats.judge is None else replace(stats.judge, entropy=judge_entropy)
    return replace(
        stats, agent=agent, judge=judge, mismatch_mean=mismatch[0], mismatch_max=mismatch[1]
    )


def _check_rate(config: Config, checkpoint: Checkpoint) -> None:
    """verl goes on with the rate of the checkpoint, so that another one would change nothing.

    Raises:
        UserError: another one is asked for, or the checkpoint is not a cluster's.
    """
    saved = checkpoint.parts.get(RATE)
    if saved is None:
        raise UserError(
            f"{checkpoint.path} was not written by `declutch cluster train`: go on with "
            "`declutch train`, or start from its weights with model.path"
        )
    if saved[RATE] != config.optimizer.lr:
        raise UserError(
            f"optimizer.lr={config.optimizer.lr} is asked for, but {checkpoint.path} goes on with "
            f"{saved[RATE]}, which verl keeps; start a new run from its weights with model.path"
        )

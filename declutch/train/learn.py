"""What one iteration's episodes change: the policy, its critic, and its auxiliary task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from declutch.config.files import change_config
from declutch.config.run import Config
from declutch.credit.registry import CriticNeeds, Method, agent_advantage, find_method
from declutch.credit.table import build_table, mean_over_tokens
from declutch.ground.streams import stream
from declutch.judge.round import JudgeRound
from declutch.judge.tasks import Answers, AuxiliaryTask, SampledTask, make_task
from declutch.learner.checkpoint import Checkpoint, save_checkpoint
from declutch.learner.critic import Critic, CriticStats, make_critic, update_critic, value_samples
from declutch.learner.lesson import Passes, PassSettings, PolicyLesson
from declutch.learner.optimizer import build_optimizer, set_learning_rate
from declutch.learner.probe import probe, probe_hidden, probe_values, readout_matrix
from declutch.learner.samples import build_samples
from declutch.learner.update import Randomness, update
from declutch.learner.update_stats import UpdateStats
from declutch.models.lora import has_lora, saved_form, without_lora
from declutch.models.reference import at_work, copy_reference
from declutch.records import Episode, Probes, Role, Step, StepTable
from declutch.rollout.collect import collect
from declutch.rollout.engine import is_exact
from declutch.rollout.groups import Collect
from declutch.rollout.policy import Policy, load_trainee
from declutch.train.memory import fit_passes
from declutch.train.processes import Processes, check_processes

EXACT_MISMATCH, OTHER_MISMATCH = 0.005, 0.1
"""Nats that the log-probabilities of sampler and learner may be apart on average, where both
compute in single precision and where they do not."""
CRITIC = "critic"
"""Name of the critic in a checkpoint."""


@dataclass(frozen=True)
class Credited:
    """What a training iteration learns from: steps, and the credit of their tokens.

    Attributes:
        table: the S steps that are trained on, with K response tokens in all.
        steps: the same steps, in the table's order.
        probes: what the method asked to know of the tokens; None where it asked for nothing.
        advantage: f32[K], the penalty of an invalid format included.
    """

    table: StepTable
    steps: tuple[Step, ...]
    probes: Probes | None
    advantage: Tensor

    @property
    def step_advantage(self) -> Tensor:
        """f32[S], the mean over each step's tokens."""
        return mean_over_tokens(self.table, self.advantage)


@dataclass(frozen=True)
class Learned:
    """What a training iteration has learned: statistics of the policy's and the critic's updates.

    Attributes:
        policy: None in an iteration that only warms the critic up.
        critic: None without a critic.
        learning_rate: the policy's, as it was then.
    """

    policy: UpdateStats | None
    critic: CriticStats | None
    learning_rate: float


class Learns(Protocol):
    """What a training session asks of whoever learns in it: `Learner`, or one on a cluster."""

    @property
    def policy(self) -> Policy:
        """The actor; what samples it has the weights as of the last update."""

    @property
    def task(self) -> AuxiliaryTask | None:
        """What the actor learns beside acting; None where `gcd.enabled` is false."""

    @property
    def collect(self) -> Collect:
        """What plays the episodes of an iteration."""

    @property
    def collect_evaluated(self) -> Collect:
        """What plays the games of an evaluation."""

    def close(self) -> None:
        """End what was started to learn with; nothing is played or learned afterwards."""

    def is_warming(self, iteration: int) -> bool:
        """Whether only the critic learns in an iteration, counted from 0."""

    def credit(self, episodes: Sequence[Episode]) -> Credited:
        """Say what each token of an iteration's episodes is worth, by the run's method."""

    def update(self, credited: Credited, judged: JudgeRound, iteration: int) -> Learned:
        """Train on one iteration's steps and judgments, counted from 0."""

    def save(self, path: Path, iteration: int, files: Mapping[str, bytes]) -> None:
        """Write a checkpoint after so many iterations, with further files of it by name."""


StartLearner = Callable[[Config, Checkpoint | None], Learns]
"""Starts who learns, from `config.model.path` or from where a checkpoint left off."""


@dataclass(frozen=True)
class Learner:
    """The training run's `Learner`: the policy with all that learns beside it.

    Attributes:
        method: how steps are credited.
        policy, optimizer: the actor, and what updates it in place.
        reference: the model that the policy is held to, itself with its LoRA adapters switched off
            where it has some; None where no divergence is asked for.
        critic: None for a method without one.
        task: what the actor learns beside acting; None where `gcd.enabled` is false.
        processes: all that play and learn; None where this one is alone.
    """

    config: Config
    method: Method
    policy: Policy
    optimizer: torch.optim.Optimizer
    reference: PreTrainedModel | None
    critic: Critic | None
    task: AuxiliaryTask | None
    processes: Processes | None = None

    @classmethod
    def start(cls, config: Config, checkpoint: Checkpoint | None) -> Learner:
        """From `config.model.path`, or from where a checkpoint left off.

        Raises:
            UserError: a model that cannot be loaded, a checkpoint of another kind of run, several
                processes where only one can be.
        """
        if config.processes == 1:
            return cls._start(config, checkpoint, None)
        check_processes(config)
        # Each takes a core, so several threads of one would wait for those of the others.
        config = change_config(config, threads=config.threads or 1)
        processes = Processes(config, checkpoint.path if checkpoint else None)
        try:
            return cls._start(config, checkpoint, processes)
        except BaseException:
            processes.close()
            raise

    @classmethod
    def _start(
        cls, config: Config, checkpoint: Checkpoint | None, processes: Processes | None
    ) -> Learner:
        method = find_method(config.algorithm.type)
        start = checkpoint.path if checkpoint else config.model.path
        policy = load_trainee(start, config, continues=checkpoint is not None)
        device = policy.model.device
        if config.optimizer.micro_batch_tokens is None and device.type == "cuda":
            config = fit_passes(policy.model, config, torch.cuda.mem_get_info(device)[0])
        optimizer = build_optimizer(policy.model, config.optimizer)
        critic = None
        if method.critic is not None:
            rate = method.critic.learning_rate(config.algorithm, config.optimizer.lr)
            critic = make_critic(policy.model, config.optimizer, rate)
        task = make_task(config, policy) if config.gcd.enabled else None
        if checkpoint is not None:
            checkpoint.restore(optimizer)
            if critic is not None:
                critic.restore(checkpoint.part(CRITIC))
                # A run that stopped may go on with another rate than the saved one.
                for group in critic.optimizer.param_groups:
                    group["lr"] = rate
            if task is not None:
                task.restore(checkpoint.part)
        reference = None
        if config.loss.kl_coef > 0 and has_lora(policy.model):
            # Without its adapters the policy is the model that the run started with.
            reference = policy.model
        elif config.loss.kl_coef > 0:
            # Loaded as the policy was when the run began, or it would compute by other passes.
            first = load_trainee(config.model.path, config) if checkpoint else policy
            reference = copy_reference(first.model, config.model.reference)
        learner = cls(config, method, policy, optimizer, reference, critic, task, processes)
        if isinstance(task, SampledTask):
            task.collect_by = learner.collect
        return learner

    @property
    def collect(self) -> Collect:
        """What plays the episodes of an iteration: this process, or all of them."""
        if self.processes is None:
            return collect
        return partial(self.processes.collect, self.policy.model)

    @property
    def collect_evaluated(self) -> Collect:
        """What plays the games of an evaluation: the same."""
        return self.collect

    def close(self) -> None:
        """End the other processes, if there are any."""
        if self.processes is not None:
            self.processes.close()

    def is_warming(self, iteration: int) -> bool:
        """Whether only the critic learns in an iteration, counted from 0."""
        needs = self.method.critic
        return needs is not None and iteration < needs.warmup(self.config.algorithm)

    def credit(self, episodes: Sequence[Episode]) -> Credited:
        """Say what each token of an iteration's episodes is worth, by the run's method."""
        config = self.config
        table, steps = build_table(episodes, self.method.similarity(config.algorithm))
        probes = self._probe_tokens(steps)
        penalty = config.train.format_penalty
        advantage = agent_advantage(table, probes, config.algorithm, penalty)
        return Credited(table, steps, probes, advantage)

    def update(self, credited: Credited, judged: JudgeRound, iteration: int) -> Learned:
        """Train the critic and the policy on one iteration's steps and judgments.

        Args:
            iteration: from 0.
        Raises:
            UserError: diverged.
        """
        critic = policy = None
        if self.critic is not None and self.method.critic is not None:
            critic = self._update_critic(self.critic, self.method.critic, credited, iteration)
        if not self.is_warming(iteration):
            policy = self._update_policy(credited, judged, iteration)
            self.policy.engine.sync(self.policy.model)
        return Learned(policy, critic, float(self.optimizer.param_groups[0]["lr"]))

    def save(self, path: Path, iteration: int, files: Mapping[str, bytes]) -> None:
        """Write a checkpoint.

        Args:
            iteration: how many have been trained.
            files: further files of it by name.
        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        parts: dict[str, Mapping[str, Any]] = {}
        if self.critic is not None:
            parts[CRITIC] = self.critic.state()
        if self.task is not None:
            parts |= self.task.state()
        save_checkpoint(
            path,
            saved_form(self.policy.model),
            self.policy.tokenizer,
            self.optimizer,
            iteration,
            parts,
            files,
        )

    def _probe_tokens(self, steps: Sequence[Step]) -> Probes | None:
        """What the method wants to know of the response tokens, from before the update."""
        names = self.method.probes
        if not names:
            return None
        limits = (self.config.optimizer.pass_tokens, self.policy.pad_id)
        model = self.policy.model
        values = hidden = readout = None
        if "values" in names:
            assert self.critic is not None
            values = torch.cat(probe_values(self.critic.model, steps, *limits))
        if "hidden" in names:
            hidden = torch.cat(probe_hidden(model, steps, *limits))
            readout = readout_matrix(model)
        is_masked = any(step.allowed_ids for step in steps)
        free = ((None,) * step.response_ids.numel() for step in steps)
        allowed = chain.from_iterable(
            step.allowed_ids or none for step, none in zip(steps, free, strict=True)
        )
        return Probes(
            token_ids=torch.cat([step.response_ids for step in steps]),
            values=values,
            hidden=hidden,
            readout=readout,
            temperature=self.config.rollout.temperature,
            allowed=tuple(allowed) if is_masked else (),
        )

    def _update_critic(
        self, critic: Critic, needs: CriticNeeds, credited: Credited, iteration: int
    ) -> CriticStats:
        config, probes = self.config, credited.probes
        assert probes is not None
        assert probes.values is not None
        sizes = credited.table.num_tokens.tolist()
        targets = needs.targets(credited.table, probes, config.algorithm)
        return update_critic(
            critic,
            value_samples(credited.steps, probes.values.split(sizes), targets.split(sizes)),
            needs.value_clip(config.algorithm),
            config.optimizer,
            stream(config.seed, "update-critic", iteration),
            self.policy.pad_id,
        )

    def _update_policy(self, credited: Credited, judged: JudgeRound, iteration: int) -> UpdateStats:
        config = self.config
        set_learning_rate(self.optimizer, config.optimizer, iteration, config.train.iterations)
        by_step = credited.advantage.split(credited.table.num_tokens.tolist())
        judge = None
        if self.task is not None:
            answers = Answers(judged.episodes, judged.scores)
            judge = self.task.lesson(
                judged.questions,
                answers,
                iteration,
                lambda steps, advantage: self._make_lesson(steps, advantage, Role.JUDGE),
            )
        return update(
            self.policy.model,
            self.optimizer,
            self._make_lesson(credited.steps, by_step, Role.AGENT),
            judge,
            config.optimizer,
            config.gcd,
            Randomness(
                agent=stream(config.seed, "update", iteration),
                judge=stream(config.seed, "update-judge", iteration),
            ),
            self._max_mismatch(),
        )

    def _max_mismatch(self) -> float:
        """How far sampler and learner may be apart, where the settings leave it open."""
        given = self.config.loss.max_mismatch
        if given is not None:
            return given
        is_same = is_exact(self.policy.engine)
        return EXACT_MISMATCH if is_same else OTHER_MISMATCH

    def _make_lesson(
        self, steps: Sequence[Step], advantage: Tensor | Sequence[Tensor], role: Role
    ) -> PolicyLesson:
        """Steps as a lesson of the policy loss; `advantage` is f32[S], or S tensors f32[T]."""
        config = self.config
        recompute = config.loss.recompute_old
        if recompute is None:
            recompute = not is_exact(self.policy.engine)
        old = self._logprobs(self.policy.model, steps) if recompute else None
        reference = None
        if self.reference is not None:
            device = self.policy.model.device
            with without_lora(self.reference), at_work(self.reference, device):
                reference = self._logprobs(self.reference, steps)
        limit = (config.agent if role is Role.AGENT else config.gcd).max_response_tokens
        settings = PassSettings(
            loss=config.loss,
            temperature=config.rollout.temperature,
            # Passes that run at the same time together hold as many tokens as one would.
            token_budget=max(config.optimizer.pass_tokens // config.processes, 1),
            pad_id=self.policy.pad_id,
            max_response_tokens=limit,
        )
        run = Passes.run if self.processes is None else self.processes.run
        return PolicyLesson(build_samples(steps, advantage, role, old, reference), settings, run)

    def _logprobs(self, model: PreTrainedModel, steps: Sequence[Step]) -> list[Tensor]:
        return probe(
            model,
            steps,
            self.config.rollout.temperature,
            self.config.optimizer.pass_tokens,
            self.policy.pad_id,
        )

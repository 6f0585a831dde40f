"""What an iteration's episodes change: the policy, and a critic where the method has one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from declutch.config.algorithm import GiGPOConfig, GRPOConfig, PPOConfig
from declutch.config.run import Config
from declutch.credit.grpo import grpo
from declutch.credit.registry import METHODS, agent_advantage
from declutch.credit.table import build_table, mean_over_tokens
from declutch.judge.round import JudgeRound
from declutch.learner.checkpoint import Checkpoint, save_checkpoint
from declutch.learner.critic import Critic, CriticStats, make_critic, update_critic, value_samples
from declutch.learner.optimizer import build_optimizer, set_learning_rate
from declutch.learner.probe import probe, probe_hidden, probe_values, readout_matrix
from declutch.learner.samples import Sample, build_samples
from declutch.learner.update import Randomness, update
from declutch.learner.update_stats import UpdateStats
from declutch.learner.value_head import Classification
from declutch.records import Episode, Probes, Role, Step, StepTable
from declutch.rollout.policy import Policy, load_policy
from declutch.streams import stream
from declutch.train.classifier import Classifier


@dataclass(frozen=True)
class Learned:
    """What came of one iteration's learning.

    Attributes:
        table: the S steps that were trained on.
        advantage: f32[S], each step's mean over its tokens, the format's penalty included.
        policy: None in an iteration that only warms the critic up.
        critic: None without a critic.
    """

    table: StepTable
    advantage: Tensor
    policy: UpdateStats | None
    critic: CriticStats | None


@dataclass(frozen=True)
class Learner:
    """The policy with its optimizer, the reference it is held to, the critic, the classifier.

    Attributes:
        reference: None where no divergence from it is asked for.
        critic: None for a method without one.
        classifier: None unless a value head stands in the judge's place.
    """

    config: Config
    policy: Policy
    optimizer: torch.optim.Optimizer
    reference: PreTrainedModel | None
    critic: Critic | None
    classifier: Classifier | None

    @classmethod
    def start(cls, config: Config, checkpoint: Checkpoint | None) -> Learner:
        """From `config.model.path`, or from where a checkpoint left off.

        Raises:
            UserError: a model that cannot be loaded, a checkpoint of another kind of run.
        """
        policy = load_policy(checkpoint.path if checkpoint else config.model.path, config)
        optimizer = build_optimizer(policy.model, config.optimizer)
        critic = None
        if isinstance(config.algorithm, PPOConfig):
            rate = config.algorithm.critic_lr or 10 * config.optimizer.lr
            critic = make_critic(policy.model, config.optimizer, rate)
        classifier = None
        if config.gcd.enabled and config.gcd.form == "value_head":
            classifier = Classifier(config, policy)
        if checkpoint is not None:
            checkpoint.restore(optimizer)
            if critic is not None:
                critic.restore(checkpoint.part("critic"))
            if classifier is not None:
                classifier.head.restore(checkpoint.part("value head"))
        reference = None
        if config.loss.kl_coef > 0:
            first = load_policy(config.model.path, config) if checkpoint else policy
            reference = copy.deepcopy(first.model).requires_grad_(False)
        return cls(config, policy, optimizer, reference, critic, classifier)

    def is_warming(self, iteration: int) -> bool:
        """Only the critic learns in this iteration."""
        algorithm = self.config.algorithm
        return isinstance(algorithm, PPOConfig) and iteration < algorithm.critic_warmup

    def learn(self, episodes: Sequence[Episode], judged: JudgeRound, iteration: int) -> Learned:
        """Credit the steps and update what is trained.

        Raises:
            UserError: diverged.
        """
        config = self.config
        algorithm = config.algorithm
        similarity = algorithm.similarity if isinstance(algorithm, GiGPOConfig) else 1.0
        table, steps = build_table(episodes, similarity)
        probes = self.probes(steps)
        penalty = config.train.format_penalty
        advantage = agent_advantage(table, probes, config.algorithm, penalty)
        critic = policy = None
        if self.critic is not None:
            critic = self.update_critic(table, steps, probes, iteration)
        if not self.is_warming(iteration):
            by_step = advantage.split(table.num_tokens.tolist())
            policy = self.update_policy(steps, by_step, judged, iteration)
        return Learned(table, mean_over_tokens(table, advantage), policy, critic)

    def probes(self, steps: Sequence[Step]) -> Probes | None:
        """What the method wants to know of the response tokens, from before the update."""
        names = METHODS[self.config.algorithm.type].probes
        if not names:
            return None
        limits = (self.config.optimizer.micro_batch_tokens, self.policy.pad_id)
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

    def update_critic(
        self, table: StepTable, steps: Sequence[Step], probes: Probes | None, iteration: int
    ) -> CriticStats:
        config = self.config
        method = METHODS[config.algorithm.type]
        assert self.critic is not None
        assert isinstance(config.algorithm, PPOConfig)
        assert method.value_targets is not None
        assert probes is not None
        assert probes.values is not None
        sizes = table.num_tokens.tolist()
        targets = method.value_targets(table, probes, config.algorithm)
        return update_critic(
            self.critic,
            value_samples(steps, probes.values.split(sizes), targets.split(sizes)),
            config.algorithm.value_clip,
            config.optimizer,
            stream(config.seed, "update-critic", iteration),
            self.policy.pad_id,
        )

    def update_policy(
        self,
        steps: Sequence[Step],
        advantage: Sequence[Tensor],
        judged: JudgeRound,
        iteration: int,
    ) -> UpdateStats:
        config = self.config
        set_learning_rate(self.optimizer, config.optimizer, iteration, config.train.iterations)
        judge: tuple[Sample, ...] | Classification = ()
        if self.classifier is not None:
            judge = self.classifier.lesson(judged.questions, iteration)
        elif judged.episodes:
            judge_table, judge_steps = build_table(judged.episodes)
            judge_advantage = grpo(judge_table, None, GRPOConfig())
            judge = self.samples(judge_steps, judge_advantage, Role.JUDGE)
        return update(
            self.policy.model,
            self.optimizer,
            self.samples(steps, advantage, Role.AGENT),
            judge,
            config.loss,
            config.optimizer,
            config.gcd,
            config.rollout.temperature,
            Randomness(
                agent=stream(config.seed, "update", iteration),
                judge=stream(config.seed, "update-judge", iteration),
            ),
            self.policy.pad_id,
            config.agent.max_response_tokens,
        )

    def samples(
        self, steps: Sequence[Step], advantage: Tensor | Sequence[Tensor], role: Role
    ) -> tuple[Sample, ...]:
        old = None
        if self.config.loss.recompute_old:
            old = self.probe(self.policy.model, steps)
        reference = None if self.reference is None else self.probe(self.reference, steps)
        return build_samples(steps, advantage, role, old, reference)

    def probe(self, model: PreTrainedModel, steps: Sequence[Step]) -> list[Tensor]:
        return probe(
            model,
            steps,
            self.config.rollout.temperature,
            self.config.optimizer.micro_batch_tokens,
            self.policy.pad_id,
        )

    def save(self, path: Path, iteration: int, protocol: str) -> None:
        """Write a checkpoint.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        parts = {}
        if self.critic is not None:
            parts["critic"] = self.critic.state()
        if self.classifier is not None:
            parts["value head"] = self.classifier.head.state()
        save_checkpoint(
            path,
            self.policy.model,
            self.policy.tokenizer,
            self.optimizer,
            {"iteration": iteration, "seed": self.config.seed, "protocol": protocol},
            parts,
        )

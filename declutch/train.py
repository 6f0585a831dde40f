"""The training loop: play, judge, credit, update; nothing flows back but new weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from declutch.classifier import Classifier
from declutch.config import Config, GRPOConfig
from declutch.credit.grpo import format_penalty, grpo
from declutch.credit.registry import METHODS
from declutch.credit.table import build_table
from declutch.envs.text_env import Suite
from declutch.errors import UserError
from declutch.evaluate import evaluate, model_player
from declutch.judge.round import JudgeRound, play_judge
from declutch.learner.checkpoint import (
    checkpoint_path,
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from declutch.learner.probe import probe
from declutch.learner.samples import Sample, build_samples
from declutch.learner.stats import UpdateStats
from declutch.learner.update import Randomness, build_optimizer, set_learning_rate, update
from declutch.learner.value_head import Classification
from declutch.metrics import Score, agent_metrics, eval_scores, judge_metrics, update_metrics
from declutch.policy import Policy, load_policy
from declutch.records import Episode, Outcome, Role, Step, StepTable
from declutch.results import EvalResult
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.run_folder import RunFolder
from declutch.streams import draw_tasks, stream


class View(Protocol):
    """Who watches a run; `declutch.progress.TrainView` is one."""

    def phase(self, name: str) -> None: ...

    def update(self, metrics: Mapping[str, float]) -> None: ...

    def evaluation(self, iteration: int, scores: Mapping[str, Score]) -> None: ...


def train(config: Config, run: RunFolder, suite: Suite, view: View, protocol: str) -> Path:
    """Train from `config.model.path`, or from the run's last checkpoint when there is one.

    Every random draw is a function of (seed, use, iteration), so that a resumed run continues as
    if it had never stopped.

    Args:
        run: where everything is written; its metrics end where its last checkpoint does.
        view: is told of phases, metrics and evaluations.
        protocol: cold-start protocol of the model, for the headers of tables.
    Returns:
        The last checkpoint.
    Raises:
        UserError: diverged, disk full, no games, a model that cannot be loaded.
    """
    loop = _Loop.start(config, run, suite, view, protocol)
    if loop.iteration == 0:
        loop.evaluate(protocol)
    while loop.iteration < config.train.iterations:
        loop.run_iteration(protocol)
    return checkpoint_path(run.path, loop.iteration)


@dataclass
class _Loop:
    """What lives from one iteration to the next."""

    config: Config
    run: RunFolder
    suite: Suite
    view: View
    policy: Policy
    reference: PreTrainedModel | None
    optimizer: torch.optim.Optimizer
    classifier: Classifier | None
    iteration: int
    clock: dict[str, float] = field(default_factory=dict)

    @classmethod
    def start(
        cls, config: Config, run: RunFolder, suite: Suite, view: View, protocol: str
    ) -> _Loop:
        last = latest_checkpoint(run.path)
        policy = load_policy(last or config.model.path, config)
        optimizer = build_optimizer(policy.model, config.optimizer)
        iteration = 0
        if last is not None:
            state = load_checkpoint(last)
            state.restore(optimizer, {})
            iteration = int(state.state["iteration"])
        run.rewind(iteration)
        reference = None
        if config.loss.kl_coef > 0:
            start = policy.model
            if last is not None:
                start = load_policy(config.model.path, config).model
            reference = copy.deepcopy(start).requires_grad_(False)
        classifier = None
        if config.gcd.enabled and config.gcd.form == "value_head":
            classifier = Classifier(config, policy, last)
        return cls(config, run, suite, view, policy, reference, optimizer, classifier, iteration)

    def run_iteration(self, protocol: str) -> None:
        config, number = self.config, self.iteration
        began = time.perf_counter()
        self.clock = {}
        with self.phase("play"):
            episodes = self.play()
        judged = JudgeRound.empty()
        if config.gcd.enabled:
            classify = self.classifier.judge if self.classifier else None
            judged = play_judge(episodes, self.policy, config, number, self.phase, classify)
        with self.phase("update"):
            table, steps = build_table(episodes)
            if not steps:
                raise UserError(self.explain_no_steps(episodes))
            advantage = self.agent_advantage(table)
            stats = self.update(steps, advantage, judged)
        metrics: dict[str, float] = {
            "iteration": number + 1,
            **agent_metrics(episodes, table, advantage),
            **judge_metrics(judged),
            **update_metrics(stats),
            "update/learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        self.iteration += 1
        if self.is_due(config.train.save_every):
            self.run.write_episodes(
                self.iteration, episodes, table, advantage, judged, self.policy.codec, config
            )
        if (config.eval.every and self.iteration % config.eval.every == 0) or self.is_last:
            metrics |= self.evaluate(protocol)
        if self.is_due(config.train.save_every):
            with self.phase("save"):
                self.save(protocol)
        self.finish(metrics, time.perf_counter() - began, stats, episodes)

    def play(self) -> list[Episode]:
        config = self.config
        tasks = draw_tasks(
            self.suite.tasks(config.train.split),
            config.train.tasks_per_iteration,
            config.seed,
            self.iteration,
        )
        plays = [
            Play(task, group)
            for group, task in enumerate(tasks)
            for _ in range(config.train.group_size)
        ]
        return collect(
            plays,
            self.suite.make_env,
            self.policy.agent,
            self.policy.engine,
            CollectParams(
                max_steps=config.train.max_steps or config.env.max_steps,
                temperature=config.rollout.temperature,
                success_reward=config.train.success_reward,
                length_penalty=config.train.length_penalty,
                ask_oracle=config.gcd.enabled,
            ),
            stream(config.seed, "play", self.iteration),
        )

    def agent_advantage(self, table: StepTable) -> Tensor:
        method = METHODS[self.config.algorithm.type]
        advantage = method.function(table, None, self.config.algorithm)
        return format_penalty(table, advantage, self.config.train.format_penalty)

    def update(self, steps: Sequence[Step], advantage: Tensor, judged: JudgeRound) -> UpdateStats:
        config = self.config
        iterations = config.train.iterations
        set_learning_rate(self.optimizer, config.optimizer, self.iteration, iterations)
        judge: tuple[Sample, ...] | Classification = ()
        if self.classifier is not None:
            judge = self.classifier.lesson(judged.questions, self.iteration)
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
                agent=stream(config.seed, "update", self.iteration),
                judge=stream(config.seed, "update-judge", self.iteration),
            ),
            self.policy.pad_id,
            config.agent.max_response_tokens,
        )

    def samples(self, steps: Sequence[Step], advantage: Tensor, role: Role) -> tuple[Sample, ...]:
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

    def evaluate(self, protocol: str) -> dict[str, float]:
        config = self.config
        with self.phase("eval"):
            player = model_player(
                self.policy,
                self.suite,
                config.env.max_steps,
                config.eval.temperature,
                reflection=config.eval.reflection,
            )
            name = f"iteration_{self.iteration:04d}"
            result: EvalResult = evaluate(
                player,
                self.suite,
                config.eval,
                config.env.max_steps,
                name,
                config.eval.temperature,
                protocol,
            )
        self.run.write_evaluation(name, result)
        scores = eval_scores(result)
        self.view.evaluation(self.iteration, scores)
        return {f"eval/{level}/success": score[0] for level, score in scores.items()}

    def save(self, protocol: str) -> None:
        save_checkpoint(
            checkpoint_path(self.run.path, self.iteration),
            self.policy.model,
            self.policy.tokenizer,
            self.optimizer,
            {"iteration": self.iteration, "seed": self.config.seed, "protocol": protocol},
            {},
            self.classifier.files() if self.classifier else None,
        )
        if self.config.train.keep_checkpoints is not None:
            prune_checkpoints(self.run.path, self.config.train.keep_checkpoints)

    def finish(
        self,
        metrics: dict[str, float],
        seconds: float,
        stats: UpdateStats,
        episodes: Sequence[Episode],
    ) -> None:
        times = {f"time/{name}": value for name, value in self.clock.items()}
        times["time/iteration"] = seconds
        tokens = stats.agent.num_forward_tokens
        tokens += stats.judge.num_forward_tokens if stats.judge else 0
        times["time/tokens_per_second"] = tokens / max(self.clock["update"], 1e-9)
        self.run.append_metrics({**metrics, **times})
        self.view.update({**metrics, **times})

    @property
    def is_last(self) -> bool:
        return self.iteration == self.config.train.iterations

    def is_due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.is_last

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.view.phase(name)
        began = time.perf_counter()
        yield
        self.clock[name] = self.clock.get(name, 0.0) + time.perf_counter() - began

    def explain_no_steps(self, episodes: Sequence[Episode]) -> str:
        errors = [e.error for e in episodes if e.outcome is Outcome.ENV_ERROR]
        return (
            f"iteration {self.iteration + 1}: all {len(errors)} episodes ended in an environment "
            f"error, the first: {errors[0]}; `declutch doctor` checks the games"
        )

"""The training loop: play, judge, credit, update; nothing flows back but new weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from declutch.config.run import Config
from declutch.endpoint.client import Endpoint, open_endpoint
from declutch.envs.protocol import Suite, check_levels, wording_of
from declutch.errors import UserError
from declutch.evaluation.evaluate import evaluate
from declutch.evaluation.exam import Examiner
from declutch.evaluation.players import evaluation_params, model_player
from declutch.evaluation.results import EvalResult
from declutch.judge.labels import check_labels
from declutch.judge.llm_labels import AskSettings, EndpointFailedError, Labeler
from declutch.judge.round import JudgeRound, play_judge
from declutch.learner.checkpoint import load_checkpoint
from declutch.learner.update_stats import UpdateStats
from declutch.records import Episode, Outcome
from declutch.rollout.groups import play_groups
from declutch.runs.episodes import PlayedIteration
from declutch.runs.folder import RunFolder, iteration_name
from declutch.train.learn import Learner
from declutch.train.metrics import (
    Score,
    agent_metrics,
    critic_metrics,
    endpoint_metrics,
    eval_metrics,
    eval_scores,
    judge_metrics,
    update_metrics,
)
from declutch.train.suggest import Suggester


class Watcher(Protocol):
    """Who watches a run; `declutch.progress.TrainWatcher` is one."""

    def phase(self, name: str) -> None: ...

    def update(self, metrics: Mapping[str, float]) -> None: ...

    def note(self, text: str) -> None: ...

    def evaluation(self, iteration: int, scores: Mapping[str, Score]) -> None: ...


def train(config: Config, run: RunFolder, suite: Suite, watcher: Watcher, protocol: str) -> Path:
    """Train from `config.model.path`, or from the run's last checkpoint when there is one.

    Every random draw is a function of (seed, use, iteration), so that a resumed run continues as
    if it had never stopped.

    Args:
        run: where everything is written; its metrics end where its last checkpoint does.
        watcher: is told of phases, metrics and evaluations.
        protocol: cold-start protocol of the model, for the headers of tables.
    Returns:
        The last checkpoint.
    Raises:
        UserError: diverged, disk full, no games, a model that cannot be loaded, labels that nobody
            can give, an endpoint that is away under gcd.on_endpoint_failure=stop.
    """
    if (config.gcd.enabled and config.gcd.form != "future") or config.eval.judge:
        check_labels(config.gcd, suite)
    check_levels(suite, config.eval.levels)
    loop = _Loop.start(config, run, suite, watcher)
    if loop.iteration == 0:
        loop.evaluate(protocol)
    while loop.iteration < config.train.iterations:
        loop.run_iteration(protocol)
    return run.checkpoint_path(loop.iteration)


@dataclass
class _Loop:
    """What lives from one iteration to the next."""

    config: Config
    run: RunFolder
    suite: Suite
    watcher: Watcher
    learner: Learner
    suggestions: Suggester
    iteration: int
    chat: Endpoint | None
    labeler: Labeler | None
    clock: dict[str, float] = field(default_factory=dict)

    @classmethod
    def start(cls, config: Config, run: RunFolder, suite: Suite, watcher: Watcher) -> _Loop:
        # Before anything that takes time: an endpoint that is not named fails at once.
        chat = labeler = None
        if config.gcd.enabled and (config.gcd.asks_endpoint or config.gcd.suggests_by_endpoint):
            chat = open_endpoint(config.endpoint)
        if chat is not None and config.gcd.asks_endpoint:
            asking = AskSettings(config.gcd, config.agent, wording_of(suite))
            labeler = Labeler(asking, chat, config.seed, watcher.note)
        last = run.last_checkpoint()
        checkpoint = None if last is None else load_checkpoint(last)
        learner = Learner.start(config, checkpoint)
        iteration = 0 if checkpoint is None else int(checkpoint.state["iteration"])
        run.rewind(iteration)
        suggestions = Suggester(config.gcd.suggestions, run, chat, watcher.note)
        return cls(config, run, suite, watcher, learner, suggestions, iteration, chat, labeler)

    def run_iteration(self, protocol: str) -> None:
        config, number, policy = self.config, self.iteration, self.learner.policy
        began = time.perf_counter()
        self.clock = {}
        asked = self.chat.usage if self.chat else None
        with self.phase("play"):
            played = play_groups(config, self.suite, policy, number, self.suggestions.shown)
        if all(episode.outcome is Outcome.ENV_ERROR for episode in played.episodes):
            raise UserError(self.explain_no_steps(played.episodes))
        judged = JudgeRound.empty()
        if config.gcd.enabled and not self.learner.is_warming(number):
            judged = self.judge(played.episodes, protocol)
        suggested: dict[str, float] = {}
        if config.gcd.suggestions.enabled:
            with self.phase("judge"):
                suggested = self.suggestions.update(
                    judged, played.episodes, policy.codec, number + 1
                )
        with self.phase("update"):
            learned = self.learner.learn(played.episodes, judged, number)
        metrics: dict[str, float] = {
            "iteration": number + 1,
            **agent_metrics(played, learned),
            **judge_metrics(judged),
            **suggested,
            **update_metrics(learned.policy),
            **critic_metrics(learned.critic),
            **endpoint_metrics(self.chat.usage - asked if self.chat and asked else None),
            "update/learning_rate": self.learner.optimizer.param_groups[0]["lr"],
        }
        self.iteration += 1
        if self.is_due(config.train.save_every):
            shown = PlayedIteration(
                self.iteration,
                played.episodes,
                learned.table,
                learned.advantage,
                judged,
                policy.codec,
            )
            self.run.write_episodes(shown, config.train.save_episodes)
        if (config.eval.every and self.iteration % config.eval.every == 0) or self.is_last:
            metrics |= self.evaluate(protocol)
        if self.is_due(config.train.save_every):
            with self.phase("save"):
                self.save(protocol)
        self.finish(metrics, time.perf_counter() - began, learned.policy)

    def judge(self, episodes: Sequence[Episode], protocol: str) -> JudgeRound:
        """Label and judge; what was learned so far is saved before a failed endpoint ends it."""
        classifier = self.learner.classifier
        try:
            return play_judge(
                episodes,
                self.learner.policy,
                self.config,
                self.iteration,
                self.phase,
                classifier.judge if classifier else None,
                self.labeler,
            )
        except EndpointFailedError:
            if self.iteration and not self.run.checkpoint_path(self.iteration).exists():
                self.save(protocol)
            raise

    def evaluate(self, protocol: str) -> dict[str, float]:
        config = self.config
        with self.phase("eval"):
            name = iteration_name(self.iteration)
            params = evaluation_params(config.env, config.eval, config.gcd)
            player = model_player(name, self.learner.policy, self.suite, params, protocol)
            examiner = self.make_examiner(name) if config.eval.judge else None
            result: EvalResult = evaluate(player, self.suite, config.eval, examiner)
        self.run.write_evaluation(name, result)
        self.watcher.evaluation(self.iteration, eval_scores(result))
        return eval_metrics(result)

    def make_examiner(self, name: str) -> Examiner:
        policy = self.learner.policy
        return Examiner(policy, policy, name, self.config.eval, self.config.gcd)

    def save(self, protocol: str) -> None:
        path = self.run.checkpoint_path(self.iteration)
        self.learner.save(path, self.iteration, protocol)
        if self.config.train.keep_checkpoints is not None:
            self.run.prune_checkpoints(self.config.train.keep_checkpoints)

    def finish(self, metrics: dict[str, float], seconds: float, stats: UpdateStats | None) -> None:
        times = {f"time/{name}": value for name, value in self.clock.items()}
        times["time/iteration"] = seconds
        if stats is not None:
            tokens = stats.agent.num_forward_tokens
            tokens += stats.judge.num_forward_tokens if stats.judge else 0
            times["time/tokens_per_second"] = tokens / max(self.clock["update"], 1e-9)
        self.run.append_metrics({**metrics, **times})
        self.watcher.update({**metrics, **times})

    @property
    def is_last(self) -> bool:
        return self.iteration == self.config.train.iterations

    def is_due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.is_last

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.watcher.phase(name)
        began = time.perf_counter()
        yield
        self.clock[name] = self.clock.get(name, 0.0) + time.perf_counter() - began

    def explain_no_steps(self, episodes: Sequence[Episode]) -> str:
        errors = [e.error for e in episodes if e.outcome is Outcome.ENV_ERROR]
        return (
            f"iteration {self.iteration + 1}: all {len(errors)} episodes ended in an environment "
            f"error, the first: {errors[0]}; `declutch doctor` checks the games"
        )

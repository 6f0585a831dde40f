"""What a training run keeps from one iteration to the next, and does around each of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from declutch.cold_start.facts import ColdStart, read_cold_start
from declutch.config.run import Config
from declutch.config.sizes import hint_for_size
from declutch.credit.registry import find_method
from declutch.endpoint.usage import Usage
from declutch.envs.augmentation import Augmentation
from declutch.envs.protocol import Suite, check_levels, wording_of
from declutch.evaluation.evaluate import evaluate, num_games
from declutch.evaluation.exam import Examiner
from declutch.evaluation.players import evaluation_params, model_player
from declutch.ground.errors import UserError
from declutch.judge.labels import check_labels
from declutch.judge.llm_labels import AskSettings, Labeler
from declutch.judge.round import JudgeRound, play_judge, why_no_questions
from declutch.learner.checkpoint import Checkpoint, load_checkpoint
from declutch.records import Episode
from declutch.rollout.groups import Played, broken_games
from declutch.rollout.policy import Policy
from declutch.rollout.reward import load_reward
from declutch.runs.catalogue import key_of
from declutch.runs.claims import bind_reference, bind_run, bind_tasks
from declutch.runs.episodes import PlayedIteration
from declutch.runs.folder import ROW_FILE, RunFolder, iteration_name
from declutch.runs.resume import ResumePoint, find_resume_point, rewind
from declutch.runs.rows import write_row
from declutch.runs.trackers import Trackers, check_trackers
from declutch.train.augmentation import find_augmentation
from declutch.train.learn import Credited, Learned, Learner, Learns, StartLearner
from declutch.train.metrics import Score, endpoint_metrics, eval_metrics, eval_scores, time_metrics
from declutch.train.suggest import Suggester

if TYPE_CHECKING:
    from declutch.endpoint.client import Endpoint


LEFT_OUT = {
    "episodes": "such episodes are counted (agent/env_errors) and not trained on",
    "evaluated games": "such games are left out of the success rates",
}
"""What becomes of what an environment broke off."""


class Watcher(Protocol):
    """Who watches a training session and is told of phases, metrics and evaluations."""

    def phase(self, name: str) -> None:
        """A phase of an iteration begins."""

    def update(self, metrics: Mapping[str, float]) -> None:
        """An iteration is done; these are its metrics."""

    def note(self, text: str) -> None:
        """Something is to be told that ends nothing."""

    def progress(self, done: int, total: int) -> None:
        """So many games of an evaluation under way are played."""

    def evaluation(self, iteration: int, scores: Mapping[str, Score]) -> None:
        """An evaluation is done; these are its levels."""


class Silent:
    """A watcher of a training session that says nothing; one of your own says what it overrides."""

    def phase(self, name: str) -> None:
        """A phase of an iteration begins."""

    def update(self, metrics: Mapping[str, float]) -> None:
        """An iteration is done; these are its metrics."""

    def note(self, text: str) -> None:
        """Something is to be told that ends nothing."""

    def progress(self, done: int, total: int) -> None:
        """So many games of an evaluation under way are played."""

    def evaluation(self, iteration: int, scores: Mapping[str, Score]) -> None:
        """An evaluation is done; these are its levels."""


def evaluated_iterations(config: Config) -> tuple[int, ...]:
    """After which iterations a training session evaluates, the start and the end included."""
    last, every = config.train.iterations, config.eval.every
    between = range(every, last, every) if every else ()
    return (0, *between, last)


class Diagnosis(Protocol):
    """What measures the policy of a training session at some iterations, and changes nothing."""

    def is_due(self, iteration: int) -> bool:
        """Whether the policy is to be measured after so many iterations."""

    def measure(self, iteration: int, policy: Policy) -> dict[str, float]:
        """Measure the policy, and keep what was found; metrics of the iteration."""


@dataclass
class Clock:
    """The clock of a training session: seconds that an iteration spends in each of its phases.

    Attributes:
        watcher: is told of every phase that begins.
        began: when the iteration did, by `time.perf_counter`.
        seconds: by phase; a phase that is entered again goes on where it stopped.
    """

    watcher: Watcher
    began: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def restart(self) -> None:
        """Begin an iteration."""
        self.began, self.seconds = time.perf_counter(), {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the iteration under its name."""
        self.watcher.phase(name)
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def metrics(self, learned: Learned) -> dict[str, float]:
        """The iteration's times so far, and how fast its update was."""
        return time_metrics(self.seconds, time.perf_counter() - self.began, learned.policy)


@dataclass
class GameCount:
    """Counts for a training session's watcher how many games of an evaluation are played.

    Attributes:
        errors: of the games that broke, which task and why.
    """

    total: int
    watcher: Watcher
    done: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, episode: Episode) -> None:
        """One more episode is finished."""
        self.errors += broken_games([episode])
        self.done += 1
        self.watcher.progress(self.done, self.total)


@dataclass
class Session:
    """The session of a training run in progress: what it keeps from one iteration to the next.

    Attributes:
        iteration: how many iterations have been trained.
        cold_start: what the model that the run starts from was made of.
        chat: the endpoint for labels and suggestions; None where neither asks one.
        labeler: asks it for labels; None where `gcd.labels` does not.
        trackers: get the metrics of every iteration besides the run's own file.
        augmentation: the distractors that episodes are shown; None where there are to be none.
        counted: the endpoint's account as of the last metrics.
        diagnosis: measures the policy at some iterations; None where nothing is asked for.
        row: the metrics of the last iteration, as far as they are known when it is saved.
        was_idle: the auxiliary task had no question the last time.
        broken: what of `LEFT_OUT` environments broke off the last time that it was played.
    """

    config: Config
    run: RunFolder
    suite: Suite
    watcher: Watcher
    cold_start: ColdStart
    learner: Learns
    suggester: Suggester
    iteration: int
    chat: Endpoint | None
    labeler: Labeler | None
    clock: Clock
    trackers: Trackers
    augmentation: Augmentation | None = None
    counted: Usage = field(default_factory=Usage)
    diagnosis: Diagnosis | None = None
    row: dict[str, float] = field(default_factory=dict)
    was_idle: bool = False
    broken: set[str] = field(default_factory=set)

    @classmethod
    def start(
        cls,
        config: Config,
        run: RunFolder,
        suite: Suite,
        watcher: Watcher,
        start_learner: StartLearner = Learner.start,
    ) -> Session:
        """Begin a run, or go on from the last checkpoint in its folder.

        Args:
            start_learner: starts who learns.
        Raises:
            UserError: as for `train`.
        """
        if (config.gcd.enabled and config.gcd.traits.needs_labels) or config.eval.judge:
            check_labels(config.gcd, suite)
        check_levels(suite, config.eval.levels)
        load_reward(config.train.reward)
        check_trackers(config.train.report_to)
        # Before anything that takes time: an endpoint that is not named fails at once.
        chat = labeler = None
        if config.gcd.enabled and (config.gcd.asks_endpoint or config.gcd.suggests_by_endpoint):
            # The client's package is loaded by those alone who ask a server.
            from declutch.endpoint.client import open_endpoint

            chat = open_endpoint(config.endpoint)
        if chat is not None and config.gcd.asks_endpoint:
            asking = AskSettings(config.gcd, config.agent, wording_of(suite))
            labeler = Labeler(asking, chat, config.seed, watcher.note)
        point = find_resume_point(run)
        bind_run(run, config)
        checkpoint = _load(point)
        # A run that goes on knows its cold start itself; the model may have been moved since.
        has_facts = checkpoint is not None and run.cold_start_path.exists()
        cold_start = read_cold_start(run.path if has_facts else config.model.path)
        if config.loss.kl_coef > 0:
            bind_reference(run, config.model.path, is_start=checkpoint is None)
        tasks = {name: suite.tasks(name) for name in (config.train.split, *config.eval.levels)}
        bind_tasks(run, tasks, is_start=checkpoint is None)
        learner = start_learner(config, checkpoint)
        with ExitStack() as undo:
            undo.callback(learner.close)
            augmentation = find_augmentation(config, suite, learner.policy)
            rewind(run, point)
            # Those that a process which was killed after its last checkpoint had no time to delete.
            if config.train.keep_checkpoints is not None:
                run.prune_checkpoints(config.train.keep_checkpoints)
            if checkpoint is None:
                for note in doubts(config, cold_start, learner):
                    watcher.note(note)
            if point.num_again:
                watcher.note(
                    f"goes on from iteration {point.iteration}; the {point.num_again} on record "
                    "after it are done again"
                )
            if not has_facts:
                run.write_cold_start(vars(cold_start))
            suggester = Suggester(config.gcd.suggestions, run, chat, watcher.note)
            session = cls(
                config=config,
                run=run,
                suite=suite,
                watcher=watcher,
                cold_start=cold_start,
                learner=learner,
                suggester=suggester,
                iteration=point.iteration,
                chat=chat,
                labeler=labeler,
                clock=Clock(watcher),
                # The last thing of all, so that nothing that fails before leaves them behind.
                trackers=Trackers.open(config, run, point.rows, watcher.note),
                augmentation=augmentation,
            )
            undo.pop_all()
        return session

    @property
    def is_last(self) -> bool:
        """Whether all iterations have been trained."""
        return self.iteration == self.config.train.iterations

    @property
    def is_save_due(self) -> bool:
        """Whether the iteration just trained is to be saved."""
        return self.iteration % self.config.train.save_every == 0 or self.is_last

    @property
    def is_evaluation_due(self) -> bool:
        """Whether there is an evaluation after the iteration just trained, or before the first."""
        return self.iteration in evaluated_iterations(self.config)

    @property
    def is_unevaluated(self) -> bool:
        """Whether the evaluation of the iteration that the run goes on from is not on record."""
        evaluation = self.run.evaluation_path(iteration_name(self.iteration))
        return self.is_evaluation_due and (self.iteration == 0 or not evaluation.exists())

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint of the current iteration is, or will be."""
        return self.run.checkpoint_path(self.iteration)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Save what was learned so far before an error of the block, where nothing learns, ends it.

        Games that all broke and endpoints that are away can be put right, and the run goes on; an
        evaluation that failed is made first then.

        Raises:
            UserError: that of the block; it says so where nothing could be saved.
        """
        try:
            yield
        except UserError as error:
            if self.iteration and not self.checkpoint.exists():
                try:
                    self.save()
                except UserError as other:
                    raise UserError(
                        f"{error}; what was learned since the last checkpoint is lost, as it could "
                        f"not be saved: {other}"
                    ) from error
            raise

    def check_played(self, played: Played) -> None:
        """Make sure that an iteration has something to train on, and say where games broke.

        Raises:
            UserError: all its episodes ended in an environment error.
        """
        errors = broken_games(played.episodes)
        if len(errors) == len(played.episodes):
            raise UserError(
                f"iteration {self.iteration + 1}: all {len(errors)} episodes ended in an "
                f"environment error, the first: {errors[0]}; `declutch doctor` checks the games"
            )
        episodes = (*played.first, *played.refills)
        self.note_errors("episodes", broken_games(episodes), len(episodes))

    def note_errors(self, what: str, errors: Sequence[str], total: int) -> None:
        """Say when games begin to break and why the first one did, which no count tells.

        Args:
            what: was played, a key of `LEFT_OUT`.
        """
        if errors and what not in self.broken:
            number = self.iteration + (what == "episodes")
            self.watcher.note(
                f"iteration {number}: {len(errors)} of {total} {what} ended in an environment "
                f"error, the first: {errors[0]}; {LEFT_OUT[what]}"
            )
        (self.broken.add if errors else self.broken.discard)(what)

    def judge(self, episodes: Sequence[Episode]) -> JudgeRound:
        """Have the auxiliary task's questions asked and answered; nothing without a task."""
        task = self.learner.task
        if task is None or self.learner.is_warming(self.iteration):
            return JudgeRound.empty()
        judged = play_judge(
            episodes, task, self.config, self.iteration, self.clock.phase, self.labeler
        )
        self.note_questions(judged)
        return judged

    def note_questions(self, judged: JudgeRound) -> None:
        """Say when the auxiliary task has nothing to ask about, and so teaches nothing."""
        is_idle = not judged.questions
        if is_idle and not self.was_idle:
            reason = why_no_questions(judged, self.config.gcd)
            self.watcher.note(
                f"iteration {self.iteration + 1}: {reason}; until that changes, gcd.task="
                f"{self.config.gcd.task} teaches nothing (judge/num_questions)"
            )
        self.was_idle = is_idle

    def suggest(self, judged: JudgeRound, episodes: Sequence[Episode]) -> dict[str, float]:
        """Collect the judgments' advice, and renew the suggestions when they are due; metrics."""
        if not self.config.gcd.suggestions.enabled:
            return {}
        codec = self.learner.policy.codec
        with self.clock.phase("judge"):
            return self.suggester.update(judged, episodes, codec, self.iteration + 1)

    def endpoint_metrics(self) -> dict[str, float]:
        """What was asked of the endpoint since this was last called."""
        if self.chat is None:
            return {}
        before, self.counted = self.counted, self.chat.usage
        return endpoint_metrics(self.counted - before)

    def write_episodes(self, played: Played, credited: Credited, judged: JudgeRound) -> None:
        """Write some of the iteration's episodes in full, for the report's browser."""
        shown = PlayedIteration(
            self.iteration,
            played.episodes,
            credited.table,
            credited.step_advantage,
            judged,
            self.learner.policy.codec,
        )
        self.run.write_episodes(shown, self.config.train.save_episodes)

    def evaluate(self) -> dict[str, float]:
        """Evaluate the policy as it is, and write and show the result; metrics."""
        config, policy = self.config, self.learner.policy
        with self.clock.phase("eval"):
            name = iteration_name(self.iteration)
            params = evaluation_params(config.env, config.eval, config.gcd)
            count = GameCount(num_games(config.eval, self.suite), self.watcher)
            player = model_player(
                name,
                policy,
                self.suite,
                params,
                self.cold_start.protocol,
                count.add,
                self.learner.collect_evaluated,
            )
            examiner = None
            if config.eval.judge:
                examiner = Examiner(policy, policy, name, config.eval, config.gcd)
            result = evaluate(player, self.suite, config.eval, examiner)
        self.note_errors("evaluated games", count.errors, count.total)
        self.run.write_evaluation(name, result)
        self.watcher.evaluation(self.iteration, eval_scores(result))
        return eval_metrics(result)

    def catch_up(self) -> None:
        """Evaluate and measure where the run begins, and where it ended before that was done."""
        metrics = self.evaluate() if self.is_unevaluated else {}
        if self.iteration == 0 or not self.run.coupling_path(self.iteration).exists():
            metrics |= self.diagnose()
        if self.iteration and metrics:
            self.run.amend_metrics(metrics)

    def diagnose(self) -> dict[str, float]:
        """Have the policy measured as it is, where that is due; metrics."""
        if self.diagnosis is None or not self.diagnosis.is_due(self.iteration):
            return {}
        with self.clock.phase("coupling"):
            return self.diagnosis.measure(self.iteration, self.learner.policy)

    def save(self) -> None:
        """Write a checkpoint with its iteration's metrics, and delete those that are too many."""
        with self.clock.phase("save"):
            row = write_row({**self.row, key_of("time", "save"): 0.0}) + "\n"
            self.learner.save(self.checkpoint, self.iteration, {ROW_FILE: row.encode()})
            if self.config.train.keep_checkpoints is not None:
                self.run.prune_checkpoints(self.config.train.keep_checkpoints)


def doubts(config: Config, cold_start: ColdStart, learner: Learns) -> Iterator[str]:
    """What a session is unlikely to learn, as far as it can be told before it takes its time."""
    size = sum(parameter.numel() for parameter in learner.policy.model.parameters())
    hint = hint_for_size(size, "optimizer.lr", config.optimizer.lr)
    if hint and config.model.lora.rank is None:
        yield hint
    critic, iterations = find_method(config.algorithm.type).critic, config.train.iterations
    if critic is not None and critic.warmup(config.algorithm) >= iterations:
        yield (
            f"in all of train.iterations={iterations} iterations only the critic would learn, and "
            "the policy would stay as it is (algorithm.critic_warmup="
            f"{critic.warmup(config.algorithm)}); lower the one or raise the other"
        )
    gcd, traits = config.gcd, config.gcd.traits
    is_judged_in_words = gcd.enabled and traits.needs_labels and traits.answers != ""
    if is_judged_in_words and cold_start.num_examples and not cold_start.num_judge_examples:
        yield (
            "the cold start behind the model had no judge samples, so that the model has never "
            "seen how to answer when it is asked to judge, and may learn it slowly or not at all; "
            "`declutch sft` makes them of labelled steps (sft.judge_samples), of the oracle's "
            "labels or, where sft.perturb is above 0, of the rule's"
        )


def _load(point: ResumePoint) -> Checkpoint | None:
    """The checkpoint that a session goes on from, which must be what its folder's name says."""
    if point.checkpoint is None:
        return None
    checkpoint = load_checkpoint(point.checkpoint)
    if checkpoint.iteration != point.iteration:
        raise UserError(
            f"{point.checkpoint} holds iteration {checkpoint.iteration}: the folder was renamed; "
            "give it its name back"
        )
    return checkpoint

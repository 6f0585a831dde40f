"""The training loop: play, judge, credit, update, evaluate, save; only new weights flow back."""

from __future__ import annotations

from pathlib import Path

from declutch.config.run import Config
from declutch.envs.protocol import Suite
from declutch.rollout.groups import play_groups
from declutch.runs.folder import RunFolder
from declutch.runs.lock import hold_folder
from declutch.train.learn import Learner, StartLearner
from declutch.train.metrics import IterationResult, iteration_metrics
from declutch.train.session import Diagnosis, Session, Watcher


def train(
    config: Config,
    run: RunFolder,
    suite: Suite,
    watcher: Watcher,
    diagnosis: Diagnosis | None = None,
    start_learner: StartLearner = Learner.start,
) -> Path:
    """The training loop: train from `config.model.path`, or from the run's last checkpoint if any.

    Every random draw is a function of (seed, use, iteration), so that a resumed run continues as
    if it had never stopped.

    Args:
        run: where everything is written; its metrics end where its last checkpoint does.
        watcher: is told of phases, metrics and evaluations.
        diagnosis: measures the policy at some iterations, which changes nothing of the training.
        start_learner: starts who learns; in this process, unless told otherwise.
    Returns:
        The last checkpoint.
    Raises:
        UserError: diverged, disk full, no games, a model that cannot be loaded, labels that nobody
            can give, an endpoint that is away under gcd.on_endpoint_failure=stop; a run folder that
            somebody else writes in, that was started with other settings, or whose parts do not
            agree.
    """
    with hold_folder(run.path, "declutch train"):
        session = Session.start(config, run, suite, watcher, start_learner)
        session.diagnosis = diagnosis
        try:
            session.catch_up()
            while not session.is_last:
                run_iteration(session)
        finally:
            session.learner.close()
            session.trackers.close(is_done=session.is_last)
        return session.checkpoint


def run_iteration(session: Session) -> None:
    """One pass of the training loop: train an iteration, and write down what came of it."""
    learner, clock, number = session.learner, session.clock, session.iteration
    clock.restart()

    with session.kept():
        with clock.phase("play"):
            played = play_groups(
                session.config,
                session.suite,
                learner.policy,
                number,
                session.suggester.shown,
                learner.collect,
                session.augmentation,
            )
        session.check_played(played)
        judged = session.judge(played.episodes)
        suggested = session.suggest(judged, played.episodes)

    with clock.phase("update"):
        credited = learner.credit(played.episodes)
        learned = learner.update(credited, judged, number)

    metrics = {
        "iteration": number + 1,
        **iteration_metrics(IterationResult(played, judged, credited, learned)),
        **suggested,
        **session.endpoint_metrics(),
    }
    session.iteration += 1
    if session.is_save_due:
        session.write_episodes(played, credited, judged)
    session.row = {**metrics, **clock.metrics(learned)}
    with session.kept():
        if session.is_evaluation_due:
            metrics |= session.evaluate()
        metrics |= session.diagnose()
    session.row = {**metrics, **clock.metrics(learned)}
    if session.is_save_due:
        # The iteration is done once its checkpoint is there, which holds its metrics as well.
        session.save()

    metrics |= clock.metrics(learned)
    session.run.append_metrics(metrics)
    session.trackers.log(metrics)
    session.watcher.update(metrics)

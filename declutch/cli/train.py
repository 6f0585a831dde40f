"""`declutch train`: reinforcement learning of an agent, written to a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.interrupt import tell_when_interrupted
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console, open_suite, warn
from declutch.ground.children import starting_context
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from declutch.config.run import Config
    from declutch.envs.protocol import Suite
    from declutch.runs.folder import RunFolder
    from declutch.train.learn import StartLearner


@dataclass(frozen=True)
class Continuation:
    """Options of `declutch train` that say how a run which is there already goes on."""

    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in RUN_DIR from its last checkpoint.")
    ] = False
    iteration: Annotated[
        int | None,
        typer.Option(
            "--from",
            min=0,
            metavar="ITERATION",
            help="Continue from an earlier checkpoint, or from 0, the beginning; what came later "
            "is moved aside within RUN_DIR.",
        ),
    ] = None
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Move RUN_DIR aside, to a dated name beside it, and start the run anew by its "
            "settings.",
        ),
    ] = False

    @property
    def is_new(self) -> bool:
        """Whether none of them is given."""
        return not (self.resume or self.restart or self.iteration is not None)


@grouped
def train_command(
    run_dir: Annotated[Path, typer.Argument(help="The run folder; everything is written there.")],
    given: GivenSettings,
    how: Continuation,
) -> None:
    """Train an agent in RUN_DIR by algorithm.type, with a judge's gradient if gcd.enabled=true."""
    train_in(run_dir, given, how)


def train_in(
    run_dir: Path,
    given: GivenSettings,
    how: Continuation,
    trained_by: str = "declutch train",
    start_learner: StartLearner | None = None,
) -> None:
    """`declutch train` in a folder, with whoever learns in it.

    Args:
        trained_by: the command, for messages to say.
        start_learner: starts who learns; None for this process.
    Raises:
        UserError: settings, a folder or data that are no good.
    """
    if how.restart and how.iteration is not None:
        raise UserError("--from continues a run and --restart starts it anew: give one of them")
    new = given.load() if how.is_new else None
    if new is not None and new.processes > 1 and start_learner is None:
        # What the other processes import, they import while this one does.
        starting_context("declutch.train.jobs")

    from declutch.runs.folder import RunFolder
    from declutch.runs.lock import hold_folder
    from declutch.runs.resume import move_aside
    from declutch.train.learn import Learner

    start_learner = start_learner or Learner.start
    run = RunFolder(run_dir, trained_by)
    if not how.is_new and not run.has_started() and not (how.restart and given.config):
        # Before a folder is made.
        run.read_config()
    if how.restart:
        new = _restarted_settings(run, given)
        with hold_folder(run.path, run.trained_by, say=console.print):
            aside = move_aside(run)
        console.print(f"the run so far is in {aside}", soft_wrap=True)
    with hold_folder(run.path, run.trained_by, say=console.print):
        if new is not None:
            _start(run, new, start_learner)
        else:
            _continue(run, given, how, start_learner)


def _start(run: RunFolder, settings: Config, start_learner: StartLearner) -> None:
    """Train a new run, which has a folder to itself and a model to start from."""
    from declutch.models.find import find_model

    if run.has_started() or run.has_begun():
        raise UserError(
            f"{run.path} already holds a run; add --resume to continue it, --restart to move it "
            "aside and start it anew, or choose another folder"
        )
    if not settings.model.path:
        raise UserError("model.path is empty: name the model to train, e.g. model.path=runs/sft")
    find_model(settings.model.path)
    suite = open_suite(settings)
    run.write_config(settings)
    try:
        _train(settings, run, suite, start_learner)
    except UserError:
        run.withdraw_start()
        raise


def _continue(
    run: RunFolder, given: GivenSettings, how: Continuation, start_learner: StartLearner
) -> None:
    """Go on with a run from its last checkpoint, or from an earlier one."""
    from declutch.runs.claims import bind_run
    from declutch.runs.resume import find_resume_point, go_back

    settings = _resumed_settings(run, given)
    suite = open_suite(settings)
    if how.iteration is not None:
        aside = go_back(run, how.iteration)
        if aside is not None:
            console.print(
                f"what came after iteration {how.iteration} is in {aside}", soft_wrap=True
            )
    find_resume_point(run)
    # Only now, since a folder that is refused is left as it is.
    bind_run(run, settings)
    run.write_config(settings)
    _train(settings, run, suite, start_learner)


def _train(settings: Config, run: RunFolder, suite: Suite, start_learner: StartLearner) -> None:
    from declutch.coupling.over_training import CouplingDiagnosis
    from declutch.credit.registry import find_method
    from declutch.report.live import TrainWatcher
    from declutch.train.loop import train
    from declutch.train.session import evaluated_iterations

    tell_when_interrupted(lambda: describe_saved(run, settings.train.iterations))
    title = f"{run.path.name}: {find_method(settings.algorithm.type).label}"
    if settings.gcd.enabled:
        suggests = "_sugg" if settings.gcd.suggestions.enabled else ""
        title += f" + {settings.gcd.traits.label}{suggests}"
    start, evaluated = run.iterations_saved(), evaluated_iterations(settings)
    with TrainWatcher(
        settings.train.iterations, title, start=start, evaluated=evaluated
    ) as watcher:
        diagnosis = CouplingDiagnosis(settings, run, suite, watcher.note)
        last = train(settings, run, suite, watcher, diagnosis, start_learner)
    _warn_of_chance(run, suite, settings)
    console.print(f"checkpoint: {last}\nreport: declutch report {run.path}")


def _warn_of_chance(run: RunFolder, suite: Suite, settings: Config) -> None:
    """Say where the last evaluation is no better than random play."""
    from declutch.evaluation.random_play import compare_with_random
    from declutch.evaluation.results import load_result
    from declutch.runs.folder import iteration_name

    last = run.evaluation_path(iteration_name(settings.train.iterations))
    if last.exists():
        note = compare_with_random(load_result(last), suite, settings.eval)
        if note:
            warn(note)


def describe_saved(run: RunFolder, iterations: int) -> str:
    """`declutch train`: what is saved of a run that was interrupted, and how it goes on."""
    done = run.iterations_saved()
    saved = f"saved up to iteration {done} of {iterations}" if done else "nothing is saved yet"
    return f"{saved}; `{run.command('--resume')}` goes on from there"


def _resumed_settings(run: RunFolder, given: GivenSettings) -> Config:
    """The run's own settings, of which few may change when it is resumed."""
    from declutch.config.files import override_config
    from declutch.runs.claims import bound_settings, check_resumed

    if given.config:
        raise UserError("--resume continues with the run's own config.yaml; leave --config out")
    own, found = run.read_config(), bound_settings(run)
    settings = override_config(own, given.items, "the resumed run")
    # Checked by itself, too: what the command line overrides may not hide what was edited.
    for each in (own, settings):
        if found is not None:
            check_resumed(run, found, each)
    check_resumed(run, own, settings)
    return settings


def _restarted_settings(run: RunFolder, given: GivenSettings) -> Config:
    """The settings of a run that is started anew: its own or those of --config, less changes."""
    from declutch.config.files import override_config

    if given.config:
        return given.load()
    return override_config(run.read_config(), given.items, "the run that is started anew")

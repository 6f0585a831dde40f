"""The commands' main jobs as functions for scripts and notebooks: cold start, train, evaluate.

They are what `declutch` offers as `make_cold_start`, `train_agent` and `evaluate`. What a user can
put right is a `UserError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from rich.console import Console

from declutch.config.files import change_config
from declutch.config.run import Config
from declutch.envs.protocol import Suite
from declutch.envs.registry import make_suite
from declutch.evaluation.evaluate import evaluate as evaluate_player
from declutch.evaluation.evaluate import num_games
from declutch.evaluation.players import (
    SCRIPTED,
    Player,
    evaluation_params,
    model_player,
    scripted_player,
)
from declutch.evaluation.results import EvalResult
from declutch.report.live import TrainWatcher
from declutch.report.progress import Counter, reported_stage
from declutch.runs.folder import RunFolder
from declutch.runs.lock import hold_folder
from declutch.train.loop import train
from declutch.train.session import Diagnosis, Silent, Watcher, evaluated_iterations

PathLike = str | os.PathLike[str]


def make_cold_start(
    config: Config, out: PathLike, *, suite: Suite | None = None, say: Callable[[str], None] = print
) -> Path:
    """Make a cold start from Python, as a command would: tiny model, demonstrations, training.

    Stages that are finished in `out` are not repeated, and other settings are refused there.

    Args:
        out: the folder of it all.
        suite: None makes the one of `config.env`.
        say: is told what the model will not learn.
    Returns:
        The folder of the trained model.
    """
    from declutch.cold_start.pipeline import make_cold_start as run_stages
    from declutch.runs.claims import claim

    place, console = Path(out), Console()
    with hold_folder(place, "make_cold_start", "tiny|cold_start"):
        claim(place / "cold_start.yaml", config)
        stage = partial(reported_stage, console)
        played = suite or make_suite(config.env)
        model, _ = run_stages(config, played, place, stage, say)
    return model


def train_agent(
    config: Config,
    run: RunFolder | PathLike,
    suite: Suite | None = None,
    watcher: Watcher | None = None,
    diagnosis: Diagnosis | None = None,
    *,
    model: PathLike | None = None,
    on_iteration: Callable[[Mapping[str, float]], None] | None = None,
) -> Path:
    """Train an agent from Python, as `declutch train` does, or go on with a run that was begun.

    Args:
        run: the run folder; everything is written there, and the same call again goes on from the
            last checkpoint.
        suite: None makes the one of `config.env`.
        watcher: is told of phases, metrics and evaluations; None prints a line for each iteration
            and evaluation. One of your own is a subclass of `Silent`.
        diagnosis: measures the policy at some iterations, see `Diagnosis`.
        model: where to start; None takes `config.model.path`.
        on_iteration: is called with the metrics of every iteration that is done.
    Returns:
        The last checkpoint, a model folder.
    Raises:
        UserError: as for `declutch.train.loop.train`.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
    if model is not None:
        config = change_config(config, model={"path": str(model)})
    played = suite or make_suite(config.env)
    shown: AbstractContextManager[Watcher]
    if watcher is None:
        shown = TrainWatcher(
            config.train.iterations,
            folder.path.name,
            start=folder.iterations_saved(),
            evaluated=evaluated_iterations(config),
        )
    else:
        shown = nullcontext(watcher)
    with shown as told, hold_folder(folder.path, "train_agent"):
        if not folder.config_path.exists():
            folder.write_config(config)
        called = told if on_iteration is None else _Calling(told, on_iteration)
        return train(config, folder, played, called, diagnosis)


def evaluate(
    policy: Player | PathLike,
    config: Config,
    suite: Suite | None = None,
    *,
    is_shown: bool = True,
) -> EvalResult:
    """Evaluate a policy from Python, as `declutch eval` does: all games of all levels, once a seed.

    Args:
        policy: a model folder or hub name, "expert", "random", or a `Player` of your own.
        config: its section eval says which levels and seeds are played.
        suite: None makes the one of `config.env`.
        is_shown: a line every ten seconds says how far it is.
    """
    played = suite or make_suite(config.env)
    if isinstance(policy, Player):
        return evaluate_player(policy, played, config.eval)
    total, console = num_games(config.eval, played), Console(stderr=True, quiet=not is_shown)
    with Counter(f"evaluating {policy}", total, console=console) as counter:
        player = _make_player(str(policy), config, played, counter)
        return evaluate_player(player, played, config.eval)


def _make_player(policy: str, config: Config, suite: Suite, counter: Counter) -> Player:
    if policy in SCRIPTED:
        return scripted_player(policy, suite, config.env.max_steps, lambda _: counter.advance())
    from declutch.cold_start.facts import read_cold_start
    from declutch.rollout.policy import load_policy

    return model_player(
        policy,
        load_policy(policy, config),
        suite,
        evaluation_params(config.env, config.eval, config.gcd),
        read_cold_start(policy).protocol,
        lambda _: counter.advance(),
    )


class _Calling(Silent):
    """A watcher that hands on what it is told, and the metrics of every iteration to a function."""

    def __init__(
        self, watcher: Watcher, on_iteration: Callable[[Mapping[str, float]], None]
    ) -> None:
        self._watcher = watcher
        self._on_iteration = on_iteration
        self.phase = watcher.phase  # type: ignore[method-assign]
        self.note = watcher.note  # type: ignore[method-assign]
        self.progress = watcher.progress  # type: ignore[method-assign]
        self.evaluation = watcher.evaluation  # type: ignore[method-assign]

    def update(self, metrics: Mapping[str, float]) -> None:
        self._watcher.update(metrics)
        self._on_iteration(metrics)

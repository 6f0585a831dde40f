"""`declutch train`: reinforcement learning of an agent, written to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console, open_suite
from declutch.errors import UserError

if TYPE_CHECKING:
    from declutch.config.run import Config
    from declutch.runs.folder import RunFolder


@grouped
def train_command(
    run_dir: Annotated[Path, typer.Argument(help="The run folder; everything is written there.")],
    given: GivenSettings,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in RUN_DIR from its last checkpoint.")
    ] = False,
) -> None:
    """Train an agent in RUN_DIR by algorithm.type, with a judge's gradient if gcd.enabled=true."""
    new = None if resume else given.load()

    from declutch.coupling.over_training import CouplingDiagnosis
    from declutch.credit.registry import find_method
    from declutch.report.live import TrainWatcher
    from declutch.runs.folder import RunFolder
    from declutch.train.loop import train

    run = RunFolder(run_dir).create()
    settings = _resumed_settings(run, given) if new is None else _new_settings(run, new)
    suite = open_suite(settings)
    run.write_config(settings)
    title = f"{run_dir.name}: {find_method(settings.algorithm.type).label}"
    if settings.gcd.enabled:
        suggests = "_sugg" if settings.gcd.suggestions.enabled else ""
        title += f" + {settings.gcd.traits.label}{suggests}"
    with TrainWatcher(settings.train.iterations, title, start=run.iterations_saved()) as watcher:
        try:
            diagnosis = CouplingDiagnosis(settings, run, suite, watcher.note)
            last = train(settings, run, suite, watcher, diagnosis)
        except UserError:
            run.withdraw_start()
            raise
    console.print(f"checkpoint: {last}\nreport: declutch report {run_dir}")


def _new_settings(run: RunFolder, settings: Config) -> Config:
    """The settings of a new run, which has a folder to itself and a model to start from."""
    if run.has_started():
        raise UserError(
            f"{run.path} already holds a run; add --resume to continue it, or choose another folder"
        )
    if not settings.model.path:
        raise UserError("model.path is empty: name the model to train, e.g. model.path=runs/sft")
    return settings


def _resumed_settings(run: RunFolder, given: GivenSettings) -> Config:
    """The run's own settings, of which few may change when it is resumed."""
    from declutch.config.files import override_config
    from declutch.config.judge import EndpointConfig

    if given.config:
        raise UserError("--resume continues with the run's own config.yaml; leave --config out")
    own = ("train.iterations=", "train.save_every=", "train.keep_checkpoints=", "threads=")
    # A server may move, a key's variable be renamed; the model it answers by is the run's.
    places = tuple(f"endpoint.{n}=" for n in EndpointConfig.model_fields if n != "model")
    allowed = (*own, *places, "gcd.on_endpoint_failure=", "gcd.fallback_labels=")
    for item in given.items:
        if not item.startswith(allowed):
            raise UserError(
                f"--resume cannot change {item!r}: the run would no longer be the same; start "
                "a new run folder"
            )
    return override_config(run.read_config(), given.items, "the resumed run")

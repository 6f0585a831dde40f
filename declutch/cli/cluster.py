"""`declutch cluster`: the same training on many GPUs and machines, by verl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.help import HelpApp
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.train import Continuation, train_in

if TYPE_CHECKING:
    from declutch.config.run import Config
    from declutch.learner.checkpoint import Checkpoint
    from declutch.train.on_cluster import ClusterLearner

app = HelpApp(help="Train on many GPUs and machines, by verl (see docs/cluster.md).")


@app.callback()
def _group() -> None:
    """Keep `train` a command of its own name, though it is the only one."""


@app.command("train")
@grouped
def cluster_train_command(
    run_dir: Annotated[Path, typer.Argument(help="The run folder, which all machines see.")],
    given: GivenSettings,
    how: Continuation,
) -> None:
    """Train an agent in RUN_DIR as `declutch train` does, on cluster.nodes machines by verl."""
    if how.is_new:
        settings = given.load()
        # Before the folder is made, and before games are.
        from declutch.cluster.settings import check_settings

        check_settings(settings)
    from declutch.train.on_cluster import ClusterLearner

    started: list[ClusterLearner] = []

    def start(config: Config, checkpoint: Checkpoint | None) -> ClusterLearner:
        started.append(ClusterLearner.start(config, checkpoint))
        return started[-1]

    try:
        train_in(run_dir, given, how, "declutch cluster train", start)
    finally:
        for learner in started:
            learner.workers.close()

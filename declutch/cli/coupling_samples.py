"""`declutch coupling samples`: have a model play for labelled samples, as JSONL of token ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console, open_suite

if TYPE_CHECKING:
    from declutch.config.run import Config


@grouped
def samples_command(
    model: Annotated[
        str, typer.Argument(help="A run folder, which brings its settings, or a model folder.")
    ],
    out: Annotated[Path, typer.Argument(help="The JSONL file to write.")],
    given: GivenSettings,
) -> None:
    """Let MODEL play, and write good and bad steps of both domains as samples for the others.

    How many, of which levels, and what makes a step good are settings of the section coupling.
    """
    from declutch.coupling.over_training import play_for_samples
    from declutch.coupling.play import write_samples
    from declutch.rollout.policy import load_policy

    path, settings = find_settings(model, given)
    policy = load_policy(path, settings)
    samples = play_for_samples(policy, open_suite(settings), settings)
    write_samples(out, samples)
    counts = {
        f"{domain} {'good' if label else 'bad'}": sum(
            sample.domain == domain and sample.label == label for sample in samples
        )
        for domain in ("in", "out")
        for label in (1, 0)
    }
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    console.print(f"samples: {out} ({told})", soft_wrap=True)


def find_settings(model: str, given: GivenSettings) -> tuple[str | Path, Config]:
    """For `declutch coupling`: the model that plays, and by which settings.

    A run folder stands for its last checkpoint and brings its own settings, unless --config gives
    others; single ones win over both.

    Raises:
        UserError: settings that are no good.
    """
    from declutch.config.files import override_config
    from declutch.runs.folder import RunFolder

    run = RunFolder(Path(model))
    last = run.last_checkpoint()
    if last is not None and run.has_started() and not given.config:
        return last, override_config(run.read_config(), given.items, str(run.path))
    return last or model, given.load()

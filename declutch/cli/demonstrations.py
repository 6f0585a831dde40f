"""`declutch demonstrations`: plays of the environment's expert, for the cold start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import (
    console,
    describe_fallbacks,
    held,
    open_chat,
    open_suite,
    reported,
    tell_usage,
)


@grouped
def demonstrations_command(
    out: Annotated[Path, typer.Argument(help="The JSON lines file to write.")],
    given: GivenSettings,
) -> None:
    """Write the expert's demonstrations to OUT, of the task types that sft.protocol allows."""
    settings = given.load()

    from declutch.cold_start.pipeline import make_demonstrations

    with held(out, "declutch demonstrations"):
        suite = open_suite(settings)
        chat = open_chat(settings) if settings.sft.reasoning == "endpoint" else None
        with reported("demonstrations") as report:
            header = make_demonstrations(settings, suite, out, report, chat)
    console.print(
        f"{header.num_episodes} episodes, {header.num_won} of them won, {header.num_steps} steps, "
        f"protocol {header.protocol}, "
        f"reasoning by {header.reasoning}{describe_fallbacks(header.fallbacks)}, written to {out}"
    )
    tell_usage(chat)

"""The terminal that commands write to, and what several of them open with a bar of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from declutch.cli.interrupt import tell_when_interrupted

if TYPE_CHECKING:
    from declutch.config.run import Config
    from declutch.endpoint.client import Endpoint
    from declutch.envs.protocol import Suite
    from declutch.report.sheet import Sheet

console = Console()


def show(sheets: Iterable[Sheet], terminal: Console = console) -> None:
    """Print a command's tables on its terminal, one below the other."""
    from declutch.report.drawers.terminal import draw_terminal

    for number, sheet in enumerate(sheets):
        if number:
            terminal.print()
        terminal.print(draw_terminal(sheet))


def warn(text: str) -> None:
    """Print on the terminal what a command's user should know, though it ends nothing."""
    console.print(f"note: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def reported(description: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Show a command's bar of progress on its terminal, for work that reports (done, total)."""
    from declutch.report.progress import reported_progress

    return reported_progress(description, console=console)


def open_suite(settings: Config) -> Suite:
    """Open the suite (env.suite) of a command, with a bar on its terminal while that takes long.

    Raises:
        UserError: no data where the settings say, no such environment, or a missing package.
    """
    from declutch.envs.registry import make_suite

    with reported("generating games") as report:
        return make_suite(settings.env, report)


def held(out: Path | None, command: str) -> AbstractContextManager[None]:
    """Hold what a command is to write while it runs, with the other's name on the terminal if not.

    It is held from the beginning, so that a place which cannot be written, or in which another
    process writes, is told on the terminal before anything takes time.
    """
    if out is None:
        return nullcontext()

    from declutch.runs.lock import hold_output

    state = "is as it was" if out.exists() else "was not written"
    tell_when_interrupted(lambda: f"{out} {state}; the same command begins anew")
    return hold_output(out, command, say=console.print)


def open_chat(settings: Config) -> Endpoint:
    """Open for a command, beside its terminal, the language model of the section `endpoint`."""
    from declutch.endpoint.client import open_endpoint

    return open_endpoint(settings.endpoint)


def tell_usage(chat: Endpoint | None) -> None:
    """Print on the terminal what a command asked of the endpoint; nothing where it asked none."""
    if chat is not None:
        used = chat.usage
        console.print(
            f"endpoint: {used.calls:,} calls, {used.cached:,} answers from the cache, "
            f"{used.tokens:,} tokens, cost {used.cost:.2f}"
        )


def describe_fallbacks(counts: Mapping[str, int]) -> str:
    """Word for a command's terminal how many texts an endpoint failed to give; "" for none."""
    if not counts:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return f", but {sum(counts.values())} by template ({reasons})"

"""The command line `declutch`: its commands in order of use, and one line for a user's error.

A command is one file, and imports at its top only what `--help` needs; whatever needs the model
libraries is imported where the command runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from declutch import __version__
from declutch.cli import cluster, coupling, envs, games
from declutch.cli.compare import compare_command
from declutch.cli.convert_gguf import convert_gguf_command
from declutch.cli.demo import demo_command
from declutch.cli.demonstrations import demonstrations_command
from declutch.cli.demonstrations_files import (
    export_demonstrations_command,
    import_demonstrations_command,
)
from declutch.cli.doctor import doctor_command
from declutch.cli.eval import eval_command
from declutch.cli.help import HelpApp
from declutch.cli.init_tiny import init_tiny_command
from declutch.cli.interrupt import InterruptedCommandError
from declutch.cli.labels import labels_command
from declutch.cli.merge import merge_command
from declutch.cli.paper import paper_command
from declutch.cli.play import play_command
from declutch.cli.presets import presets_command
from declutch.cli.report import report_command
from declutch.cli.serve import serve_command
from declutch.cli.settings import settings_command
from declutch.cli.sft import sft_command
from declutch.cli.terminal import console
from declutch.cli.theory import theory_command
from declutch.cli.train import train_command
from declutch.ground.errors import UserError

app = HelpApp(name="declutch", add_completion=True)
errors = Console(stderr=True)

RENAMED_COMMANDS = {"demos": "demonstrations"}
"""Former names of commands, and those of today."""

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Begin": {
        "doctor": doctor_command,
        "demo": demo_command,
        "presets": presets_command,
        "settings": settings_command,
    },
    "Cold start": {
        "init-tiny": init_tiny_command,
        "demonstrations": demonstrations_command,
        "demonstrations import": import_demonstrations_command,
        "demonstrations export": export_demonstrations_command,
        "sft": sft_command,
    },
    "Train and look": {
        "train": train_command,
        "report": report_command,
        "eval": eval_command,
        "compare": compare_command,
        "labels": labels_command,
    },
    "Coupling": {"theory": theory_command, "paper": paper_command},
    "Models": {
        "serve": serve_command,
        "merge": merge_command,
        "convert-gguf": convert_gguf_command,
    },
    "Environments": {"play": play_command},
}
"""Functions by command and by heading of the help, in order of use."""


def show_version(is_asked: bool) -> None:
    """Print the version of the package and end, where `declutch --version` asks for it."""
    if is_asked:
        console.print(f"declutch {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=show_version,
            help="Print the version of the package and exit.",
        ),
    ] = False,
) -> None:
    """Reinforcement learning of language-model agents that generalise."""


def refuse_renamed(old: str, new: str) -> Callable[[], None]:
    """Make a command under its former name in the main application, which only says the new one."""

    def refuse() -> None:
        raise UserError(f"`declutch {old}` is now called `declutch {new}`")

    return refuse


def register() -> None:
    """Give the main application of the command line all its commands, `declutch COMMAND`."""
    for panel, commands in COMMANDS.items():
        for name, command in commands.items():
            app.command(name, rich_help_panel=panel)(command)
    app.add_typer(cluster.app, name="cluster", rich_help_panel="Train and look")
    app.add_typer(coupling.app, name="coupling", rich_help_panel="Coupling")
    app.add_typer(games.app, name="games", rich_help_panel="Environments")
    app.add_typer(envs.app, name="envs", rich_help_panel="Environments")
    anything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    for old, new in RENAMED_COMMANDS.items():
        app.command(old, hidden=True, context_settings=anything)(refuse_renamed(old, new))


register()


def main() -> None:
    """Run the command line's main program; a `UserError` is one line and exit status 2.

    The line goes to standard error.
    """
    try:
        app()
    except UserError as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
    except InterruptedCommandError as interrupted:
        errors.print(f"interrupted: {escape(str(interrupted))}", highlight=False, soft_wrap=True)
        raise SystemExit(130) from None
    except KeyboardInterrupt:
        errors.print("interrupted")
        raise SystemExit(130) from None
    # PyTorch has no type of its own for a CPU without memory.
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        errors.print(
            "[bold red]error:[/] there is not enough memory; take a smaller batch "
            "(rollout.max_batch, optimizer.micro_batch_tokens), a smaller model or fewer processes "
            "or set model.gradient_checkpointing=true; `declutch doctor --model MODEL` says what "
            "takes how much",
            highlight=False,
            soft_wrap=True,
        )
        raise SystemExit(2) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error that ends the main program says that memory ran out, on whatever device."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


if __name__ == "__main__":
    main()

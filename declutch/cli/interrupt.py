"""What Ctrl-C leaves behind: every command says what is saved, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])

NOTHING = "nothing was written; the same command begins anew"


class InterruptedCommandError(Exception):
    """A command was ended by Ctrl-C; its text says what is saved, and how to go on."""


_tellers: list[Callable[[], str]] = []


def tell_when_interrupted(tell: Callable[[], str]) -> None:
    """Have a command say more if Ctrl-C ends it.

    Args:
        tell: is asked only then, what is saved and how to go on; "" for nothing to say.
    """
    _tellers.append(tell)


def interruptible(command: Command) -> Command:
    """Make a command one that Ctrl-C ends with a sentence on what is saved.

    Raises:
        InterruptedCommandError: in the place of a KeyboardInterrupt, of which typer says nothing.
    """

    @wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        _tellers.clear()
        try:
            return command(*args, **options)
        except KeyboardInterrupt:
            told = dict.fromkeys(filter(None, (tell() for tell in _tellers)))
            raise InterruptedCommandError("; ".join(told) or NOTHING) from None

    return run  # type: ignore[return-value]

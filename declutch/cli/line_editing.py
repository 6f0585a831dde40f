"""Typing actions in `declutch play`: earlier ones by the arrow keys, and completion by Tab."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

HISTORY_FILE = "play_history"
HISTORY_LENGTH = 1000


class Completer:
    """Completes what is typed in `declutch play` to actions that are possible now."""

    def __init__(self, words: Sequence[str]) -> None:
        """
        Args:
            words: what can be typed besides actions.
        """
        self._words = tuple(words)
        self.actions: tuple[str, ...] = ()

    def matches(self, text: str) -> list[str]:
        """What begins like `text`, or else has a word that does: "mug" finds "take mug 1"."""
        known = [*self.actions, *self._words]
        first = [each for each in known if each.startswith(text)]
        return first or [each for each in known if f" {text}" in f" {each}"]

    def __call__(self, text: str, state: int) -> str | None:
        """The `state`-th completion of `text`, as readline asks for it; None for no more."""
        found = self.matches(text)
        return found[state] if state < len(found) else None


@contextmanager
def line_editing(
    completer: Completer, folder: Path, ask: Callable[[str], str]
) -> Iterator[Callable[[str], str]]:
    """Give a function that asks for a line in `declutch play`, with history and completion.

    Args:
        folder: keeps what was typed in former games.
        ask: asks where the terminal or the platform has no line editing.
    """
    editor = _import_readline()
    if editor is None or not sys.stdin.isatty():
        yield ask
        return
    history = folder / HISTORY_FILE
    _read_history(editor, history)
    before = editor.get_completer(), editor.get_completer_delims()
    editor.set_completer(completer)
    # An action has several words and is completed as a whole.
    editor.set_completer_delims("")
    editor.parse_and_bind("tab: complete")
    try:
        yield input
    finally:
        editor.set_completer(before[0])
        editor.set_completer_delims(before[1])
        _write_history(editor, history)


def _import_readline() -> ModuleType | None:
    try:
        import readline
    except ImportError:  # Windows has none.
        return None
    return readline


def _read_history(editor: ModuleType, history: Path) -> None:
    try:
        editor.read_history_file(str(history))
    except OSError:
        return  # None yet, or none that can be read: a game begins all the same.


def _write_history(editor: ModuleType, history: Path) -> None:
    try:
        history.parent.mkdir(parents=True, exist_ok=True)
        editor.set_history_length(HISTORY_LENGTH)
        editor.write_history_file(str(history))
    except OSError:
        return

"""What is typed in a game is completed and remembered, and asked for plainly where it must be."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from declutch.cli import line_editing as module
from declutch.cli.line_editing import HISTORY_FILE, Completer, line_editing


class Editor:
    """Stands in for readline."""

    def __init__(self) -> None:
        self.completer, self.delims, self.lines, self.bound = None, " ", [], ""
        self.set_completer = lambda each: setattr(self, "completer", each)
        self.get_completer = lambda: self.completer
        self.set_completer_delims = lambda each: setattr(self, "delims", each)
        self.get_completer_delims = lambda: self.delims
        self.parse_and_bind = lambda each: setattr(self, "bound", each)
        self.set_history_length = lambda count: None

    def read_history_file(self, path: str) -> None:
        self.lines += Path(path).read_text().splitlines()

    def write_history_file(self, path: str) -> None:
        Path(path).write_text("\n".join(self.lines))


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch) -> Editor:
    found = Editor()
    monkeypatch.setattr(module, "_import_readline", lambda: found)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    return found


def test_actions_are_completed_as_a_whole_and_by_their_words() -> None:
    completer = Completer(("hint", "quit"))
    completer.actions = ("go to desk 1", "take mug 1 from desk 1", "take pen 2 from desk 1")
    assert completer.matches("take m") == ["take mug 1 from desk 1"]
    assert completer.matches("mug") == ["take mug 1 from desk 1"]
    assert completer.matches("h") == ["hint"]
    assert completer.matches("zz") == []
    assert [completer("take", state) for state in range(3)] == [*completer.actions[1:], None]


def test_what_was_typed_is_there_in_the_next_game(editor: Editor, tmp_path: Path) -> None:
    completer = Completer(())
    for line in ("go left", "go right"):
        with line_editing(completer, tmp_path / "cache", str.upper) as ask:
            assert ask is input
            assert editor.completer is completer
            assert (editor.delims, editor.bound) == ("", "tab: complete")
            editor.lines.append(line)
        assert (editor.completer, editor.delims) == (None, " ")
        editor.lines = []
    history = tmp_path / "cache" / HISTORY_FILE
    assert history.read_text().splitlines() == ["go left", "go right"]


def test_a_history_that_cannot_be_kept_is_no_trouble(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with line_editing(Completer(()), tmp_path / "cache", str.upper) as ask:
        assert ask is input


def test_without_a_terminal_it_asks_plainly(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with line_editing(Completer(()), tmp_path, str.upper) as ask:
        assert ask("x") == "X"
    assert editor.completer is None

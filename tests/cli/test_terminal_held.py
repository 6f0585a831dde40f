"""Every command that writes a file or folder refuses one that another process holds."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from declutch.cli.main import main
from declutch.runs.lock import hold_folder, hold_output


@contextmanager
def held_elsewhere(hold: Callable, place: Path) -> Iterator[int]:
    """A process that holds a folder or file meanwhile; its number."""
    ready, ours = os.pipe()
    pid = os.fork()
    if not pid:
        with hold(place, "declutch test"):
            os.write(ours, b"x")
            os.read(os.pipe()[0], 1)
        os._exit(0)
    try:
        assert os.read(ready, 1) == b"x"
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(ours)


@pytest.mark.parametrize(
    ("words", "hold"),
    [
        ("init-tiny OUT", hold_output),
        ("convert-gguf none OUT", hold_output),
        ("demonstrations OUT", hold_output),
        ("sft none OUT", hold_output),
        ("eval expert --out OUT", hold_output),
        ("labels none --out OUT", hold_output),
        ("games gold --out OUT", hold_output),
        ("train OUT model.path=none", hold_folder),
        ("compare OUT --methods grpo", hold_folder),
        ("demo OUT", hold_folder),
    ],
    ids=lambda value: value.split(" OUT")[0] if isinstance(value, str) else "",
)
def test_a_place_that_is_held_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    hold: Callable,
) -> None:
    out = tmp_path / "out"
    # The model is looked for before anything else, and this is as good as one.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.json").write_text("{}")
    with held_elsewhere(hold, out) as pid:
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["declutch", *words.replace("OUT", str(out)).split()])
        with pytest.raises(SystemExit) as status:
            main()
        assert status.value.code == 2
        text = " ".join(capsys.readouterr().err.split())
        assert f"process {pid} on {os.uname().nodename} (`declutch test`) already writes" in text
        assert sorted(tmp_path.rglob("*")) == before

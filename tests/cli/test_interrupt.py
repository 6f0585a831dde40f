"""Ctrl-C says in every command what is saved, and how to go on."""

import inspect
from pathlib import Path

import pytest

from declutch.cli import main
from declutch.cli.demo import describe_stages
from declutch.cli.interrupt import (
    NOTHING,
    InterruptedCommandError,
    interruptible,
    tell_when_interrupted,
)
from declutch.cli.sft import describe_demonstrated
from declutch.cli.terminal import held
from declutch.cli.train import describe_saved
from declutch.runs.folder import RunFolder


def save(run: RunFolder, iteration: int) -> None:
    run.checkpoint_path(iteration).mkdir(parents=True)
    (run.checkpoint_path(iteration) / "trainer.pt").touch()


def end_by_ctrl_c(command, *args) -> str:
    with pytest.raises(InterruptedCommandError) as ended:
        interruptible(command)(*args)
    return str(ended.value)


def test_a_command_that_writes_nothing_says_so() -> None:
    def command() -> None:
        raise KeyboardInterrupt

    assert end_by_ctrl_c(command) == NOTHING


def test_what_was_told_before_is_forgotten(tmp_path: Path) -> None:
    def command(out: Path) -> None:
        tell_when_interrupted(lambda: f"{out.name} is half done")
        raise KeyboardInterrupt

    assert end_by_ctrl_c(command, tmp_path / "one") == "one is half done"
    assert end_by_ctrl_c(command, tmp_path / "two") == "two is half done"


def test_what_a_command_was_to_write_is_named(tmp_path: Path) -> None:
    def command(out: Path) -> None:
        with held(out, "declutch test"):
            raise KeyboardInterrupt

    new, old = tmp_path / "new", tmp_path / "old"
    old.mkdir()
    assert end_by_ctrl_c(command, new) == f"{new} was not written; the same command begins anew"
    assert end_by_ctrl_c(command, old) == f"{old} is as it was; the same command begins anew"


def test_runs_and_demos_say_where_they_go_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "demo" / "run")
    assert describe_saved(run, 40).startswith("nothing is saved yet; `declutch train ")
    assert describe_stages(tmp_path / "demo", run, 40).startswith("nothing is saved yet")
    save(run, 10)
    assert describe_saved(run, 40) == (
        f"saved up to iteration 10 of 40; `declutch train {run.path} --resume` goes on from there"
    )
    (tmp_path / "demo" / "cold_start").mkdir()
    told = describe_stages(tmp_path / "demo", run, 40)
    assert told.startswith("the cold start, 10 of 40 iterations are kept in")
    assert describe_demonstrated(tmp_path / "none.jsonl") == ""


@pytest.mark.parametrize(
    "command", ["doctor", "train run", "coupling tokens model", "envs check suite"]
)
def test_the_main_program_prints_it_and_ends_as_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Whatever the command was doing, and however deep it is."""

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("declutch.cli.options.GivenSettings.load", interrupt)
    monkeypatch.setattr("declutch.cli.options._take_settings_out", interrupt)
    monkeypatch.setattr("sys.argv", ["declutch", *command.split()])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    assert f"interrupted: {NOTHING}" in capsys.readouterr().err


def test_typer_still_sees_the_command_itself() -> None:
    def command(name: str, count: int = 3) -> None:
        """Says nothing."""

    assert inspect.signature(interruptible(command)) == inspect.signature(command)
    assert interruptible(command).__doc__ == "Says nothing."

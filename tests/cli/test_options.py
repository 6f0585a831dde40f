"""Options that several commands share: lists, short forms of settings, removed names."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from declutch.cli.eval import EvalSettings
from declutch.cli.main import main
from declutch.cli.options import GivenSettings, grouped, split_numbers, split_words
from declutch.ground.errors import UserError


def error_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["declutch", *command.split()])
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_lists_are_written_with_commas_or_by_repeating_the_option() -> None:
    assert split_words(["L0,L1", "L2"]) == ["L0", "L1", "L2"]
    assert split_words(None) == []
    assert split_numbers("--seeds", ["0,1", "7"]) == [0, 1, 7]
    with pytest.raises(UserError, match="--seeds 'x' is no whole number"):
        split_numbers("--seeds", ["0,x"])


def test_short_forms_stand_for_settings_and_win_over_them() -> None:
    given = EvalSettings(
        ["eval.levels=[L1]", "seed=3"], levels=["L0,L2"], seeds=["0", "1"], temperature=0.0
    )
    config = given.load()
    assert config.eval.levels == ("L0", "L2")
    assert config.eval.seeds == (0, 1)
    assert (config.eval.temperature, config.seed) == (0, 3)
    assert EvalSettings().load().eval == GivenSettings().load().eval
    assert given.load("eval.levels=[L1]").eval.levels == ("L1",)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("eval expert --levels L0 L1 L2", "commas: --levels L0,L1,L2"),
        ("eval expert --seeds 0 1 seed=3", "commas: --seeds 0,1"),
        ("games gold --levels L0 L1", "commas: --levels L0,L1"),
        ("games gold --tasks boil melt", "commas: --tasks boil,melt"),
        ("games expert --split train L0", "commas: --split train,L0"),
        (
            "compare out --methods grpo rloo --gcd off on --seeds 0 1",
            "commas: --methods A,B --gcd A,B --seeds A,B",
        ),
    ],
)
def test_a_list_written_with_blanks_is_one_error_that_says_how_to_write_it(
    command: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = error_of(monkeypatch, capsys, command)
    assert message.startswith("error: ")
    assert message.endswith(hint)


def test_a_stray_word_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(monkeypatch, capsys, "eval expert nonsense")
    assert message == "error: 'nonsense' is not of the form section.key=value"


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (
            "eval expert --judge",
            "--judge is no option any more: write the setting eval.judge=true",
        ),
        ("eval expert --judge-steps 40", "write the settings eval.judge=true eval.judge_steps=N"),
        ("eval --judge-steps 40 expert", "write the settings eval.judge=true eval.judge_steps=N"),
        ("games verify --data x", "write the settings env.suite=alfworld env.alfworld.data_dir="),
        ("games verify --reference textworld", "write nothing in its place"),
    ],
)
def test_a_removed_option_says_what_to_write(
    command: str,
    instead: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert instead in error_of(monkeypatch, capsys, command)


@dataclass(frozen=True)
class Plate:
    size: Annotated[int, typer.Option(help="How large it is.")] = 3
    colours: Annotated[list[str] | None, typer.Option("--colour")] = None


def test_fields_of_a_dataclass_are_options_and_come_back_as_one() -> None:
    served: list[object] = []

    @grouped
    def serve(guest: Annotated[str, typer.Argument()], given: GivenSettings, plate: Plate) -> None:
        """Serve somebody."""
        served.extend((guest, given, plate))

    app = typer.Typer()
    app.command()(serve)
    text = CliRunner().invoke(app, ["--help"]).output
    assert "Serve somebody." in text
    assert "How large it is." in text
    arguments = ["Ada", "a=1", "--size", "4", "-c", "x.yaml", "--colour", "red", "--colour", "blue"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    guest, given, plate = served
    assert guest == "Ada"
    assert given == GivenSettings(["a=1"], [Path("x.yaml")])
    assert plate == Plate(4, ["red", "blue"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ("runs/x", [])),
        ("seed=1", ("runs/x", ["seed=1"])),
        ("seed=1 train.iterations=2", ("runs/x", ["seed=1", "train.iterations=2"])),
        ("out seed=1", ("out", ["seed=1"])),
    ],
)
def test_a_setting_is_never_taken_for_an_argument_that_may_be_left_out(
    words: str, expected: tuple[str, list[str]]
) -> None:
    """`declutch demo seed=1` made a folder of that name."""
    found = []

    @grouped
    def command(
        out: Annotated[Path, typer.Argument()] = Path("runs/x"), *, given: GivenSettings
    ) -> None:
        found.append((str(out), given.items))

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, words.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert found == [expected]


@pytest.mark.parametrize(
    ("command", "name"),
    [("train seed=1", "RUN_DIR"), ("sft seed=1 runs/cold", "MODEL"), ("eval seed=1", "")],
)
def test_a_setting_in_the_place_of_a_needed_argument_is_an_error(
    command: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(monkeypatch, capsys, command)
    assert f"{name} is missing: it comes before settings such as 'seed=1'" in message

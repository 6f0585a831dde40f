"""`--help` names everything, keeps names whole, and loads no more than it needs."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from declutch.cli.main import app

RUNNER = CliRunner()


def help_of(*words: str, columns: int = 100) -> str:
    result = RUNNER.invoke(app, [*words, "--help"], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0
    return result.output


def test_the_help_lists_commands_under_their_headings_and_no_hidden_one() -> None:
    text = help_of()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    begin = lines.index("Begin")
    assert lines[begin + 2].startswith("doctor Say what is installed")
    assert begin < lines.index("Cold start") < lines.index("Train and look")
    assert not any(line.startswith("demos ") for line in lines)
    assert "--version Print the version of the package and exit." in lines


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_names_of_options_stay_whole_at_every_width(columns: int) -> None:
    text = help_of("compare", columns=columns)
    command = typer.main.get_command(app).commands["compare"]  # type: ignore[attr-defined]
    words = text.split()
    for param in command.params:
        if not getattr(param, "hidden", False):
            for name in param.opts if param.param_type_name == "option" else ():
                assert name in words or f"{name}," in words
    assert max(map(len, text.splitlines())) <= columns


def test_the_usage_line_says_what_can_be_left_out() -> None:
    assert "Usage: declutch play [OPTIONS] [PLAYER] [KEY=VALUE]..." in help_of("play")
    assert "Usage: declutch games [OPTIONS] COMMAND ..." in help_of("games")
    result = RUNNER.invoke(app, ["eval", "--nonsense"])
    assert result.exit_code == 2
    assert "Usage: declutch eval [OPTIONS] POLICY [KEY=VALUE]..." in result.output
    assert "No such option: --nonsense" in result.output


def test_defaults_are_told() -> None:
    text = " ".join(help_of("serve").split())
    assert "0 takes a free one. (default 8000)" in text


def test_the_help_loads_no_reader_of_markdown() -> None:
    code = (
        "import sys\nfrom declutch.cli.main import main\nsys.argv = ['declutch', '--help']\n"
        "try:\n    main()\nfinally:\n    print('markdown_it' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == "False"

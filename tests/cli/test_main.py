"""The command line: help for everything, and one clear error for whatever goes wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from declutch.cli.main import app, main, spread_lists

COMMANDS = (
    "init-tiny",
    "demonstrations",
    "sft",
    "train",
    "eval",
    "compare",
    "report",
    "doctor",
    "play",
    "serve",
    "convert-gguf",
    "demo",
    "games",
    "envs",
)


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["declutch", *arguments])
    with pytest.raises(SystemExit) as status:
        main()
    output = capsys.readouterr()
    return int(status.value.code or 0), " ".join((output.out + output.err).split())


def test_help_lists_every_command() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    for command in COMMANDS:
        assert command in text
        shown = CliRunner().invoke(app, [command, "--help"])
        assert shown.exit_code == 0
        assert "Usage" in shown.output


def test_it_starts_without_loading_the_model_libraries() -> None:
    code = "import sys, declutch.cli; print('torch' in sys.modules, 'transformers' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("eval", "expert", "env.suite=alfworld", "env.data_dir=/nowhere"),
            ["/nowhere", "alfworld-download"],
        ),
        (("eval", "expert", "gcd.wieght=1"), ["gcd.wieght", "did you mean 'weight'"]),
        (("eval", "expert", "--config", "/none.yaml"), ["/none.yaml"]),
        (("report", "/none"), ["/none"]),
        (("train", "/proc/none"), ["/proc/none"]),
        (("compare", "/proc/none", "--methods", "grop"), ["grop", "did you mean 'grpo'"]),
        (("compare", "/none", "--show"), ["/none"]),
        (("compare", "/none", "--gcd", "maybe"), ["maybe"]),
    ],
)
def test_errors_are_one_message_and_status_2(
    arguments: tuple[str, ...],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, text = run(monkeypatch, capsys, *arguments)
    assert status == 2
    assert "Traceback" not in text
    for word in words:
        assert word in text


def test_an_empty_split_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "json_2.1.1" / "valid_seen").mkdir(parents=True)
    status, text = run(
        monkeypatch,
        capsys,
        "eval",
        "expert",
        "env.suite=alfworld",
        f"env.data_dir={tmp_path}",
        "--levels",
        "L0",
    )
    assert status == 2
    assert "no game" in text


def test_a_run_refused_at_its_start_leaves_its_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    games = [f"env.households.{split}=6" for split in ("train", "valid_seen", "valid_unseen")]
    folder = tmp_path / "run"
    for _ in range(2):
        status, text = run(
            monkeypatch, capsys, "train", str(folder), f"model.path={tmp_path}/none", *games
        )
        assert status == 2
        assert f"{tmp_path}/none" in text
        assert "already holds" not in text
    (folder / "evals").mkdir()
    (folder / "config.yaml").write_text("seed: 1\n")
    _, text = run(monkeypatch, capsys, "train", str(folder), f"model.path={tmp_path}/none")
    assert "already holds a run" in " ".join(text.split())


def test_list_options_take_several_values() -> None:
    spread = spread_lists(["eval", "x", "--levels", "L0", "L1", "--seeds", "0", "1", "a.b=1", "c"])
    assert spread == (
        [
            "eval",
            "x",
            "--levels",
            "L0",
            "--levels",
            "L1",
            "--seeds",
            "0",
            "--seeds",
            "1",
            "a.b=1",
            "c",
        ]
    )

"""The command line: help for everything, and one clear error for whatever goes wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import declutch
from declutch.cli.main import COMMANDS, app, main


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
    for command in (*(name for panel in COMMANDS.values() for name in panel), "games", "envs"):
        assert command in text
        shown = CliRunner().invoke(app, [command, "--help"])
        assert shown.exit_code == 0
        assert "Usage" in shown.output


HEAVY = ("torch", "transformers", "numpy", "scipy", "sklearn", "openai", "declutch.config")


CODE = """
import sys
from declutch.cli.main import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["declutch", *line.split()]
    try:
        main()
    except SystemExit as error:
        print("ENDED", line, "WITH", error.code)
    print("LOADED", *(name for name in {heavy} if name in sys.modules))
"""


def test_help_and_wrong_options_load_no_large_library() -> None:
    names = [name for panel in COMMANDS.values() for name in panel]
    names += [f"games {name}" for name in ("list", "generate", "expert", "verify", "gold")]
    lines = ["--help", "--version", "eval --nonsense", "nonsense", "demos"]
    lines += [f"{name} --help" for name in (*names, "games", "envs", "envs check")]
    result = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    found = result.stdout.splitlines()
    ended = [line for line in found if line.startswith("ENDED")]
    wrong = ("nonsense", "demos")
    assert ended == [f"ENDED {x} WITH {2 if x.endswith(wrong) else 0}" for x in lines]
    assert [line for line in found if line.startswith("LOADED")] == ["LOADED"] * len(lines)


def test_a_wrong_setting_is_told_before_a_large_library_is_loaded() -> None:
    commands = ["init-tiny out", "demonstrations out", "sft in out", "train run", "eval expert"]
    commands += ["play me", "demo out", "serve model", "doctor", "envs check math"]
    commands += [f"games {name}" for name in ("list", "generate", "expert", "verify", "gold")]
    lines = [f"{command} gcd.wieght=1" for command in commands]
    libraries = tuple(name for name in HEAVY if not name.startswith("declutch"))
    result = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=libraries)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    told = [
        f"error: {'demo, ' if line.startswith('demo ') else ''}the command line: unknown setting "
        "'gcd.wieght'; did you mean 'gcd.weight'?"
        for line in lines
    ]
    assert result.stderr.splitlines() == told
    assert [line for line in result.stdout.splitlines() if line.startswith("LOADED")] == [
        "LOADED"
    ] * len(lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("eval", "expert", "env.suite=alfworld", "env.alfworld.data_dir=/nowhere"),
            ["/nowhere", "alfworld-download"],
        ),
        (("eval", "expert", "gcd.wieght=1"), ["gcd.wieght", "did you mean 'gcd.weight'"]),
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
        f"env.alfworld.data_dir={tmp_path}",
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


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"declutch {declutch.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["out.jsonl", "sft.num_episodes=3", "-x"]])
def test_a_former_name_of_a_command_says_the_new_one(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = run(monkeypatch, capsys, "demos", *arguments)
    assert (status, text) == (
        2,
        "error: `declutch demos` is now called `declutch demonstrations`",
    )
    assert "demos" not in CliRunner().invoke(app, ["--help"]).output.split()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
    ],
)
def test_memory_that_runs_out_is_one_message(error, monkeypatch, capsys):
    def fail():
        raise error

    monkeypatch.setattr("declutch.cli.main.app", fail)
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_another_error_of_the_kind_keeps_its_traceback(monkeypatch):
    def fail():
        raise RuntimeError("a fault")

    monkeypatch.setattr("declutch.cli.main.app", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        main()

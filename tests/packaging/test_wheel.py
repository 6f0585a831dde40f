"""The wheel, installed into an environment of its own and used far from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command without what this process's environment says of paths; gives its output."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A build leaves files beside the sources, and finds those of former ones there.
    sources = folder / "sources"
    for name in ("declutch", "declutch_games"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, sources],
        check=True,
    )
    (path,) = folder.glob("declutch-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which borrows all other packages from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], folder)
    packages = run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder
    ).strip()
    # The own packages come first. An editable declutch of this one is not found this way.
    (Path(packages) / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "declutch", "declutch_games"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert set(tracked) - packed == set()


def test_commands_work_without_the_checkout(environment: Path, tmp_path: Path) -> None:
    program = environment / "bin" / "declutch"
    assert "demonstrations" in run([program, "--help"], tmp_path)
    code = "import declutch; print(declutch.__file__)"
    place = run([environment / "bin" / "python", "-c", code], tmp_path)
    assert place.startswith(str(environment))
    settings = [f"env.households.{split}=6" for split in ("train", "valid_seen", "valid_unseen")]
    settings += [f"env.cache_dir={tmp_path / 'games'}", "eval.max_games=2"]
    output = run([program, "eval", "expert", "--levels", "L0", *settings], tmp_path)
    assert "L0" in output


SMALL_DEMO = (
    *(
        "train.iterations=1",
        "train.tasks_per_iteration=2",
        "train.group_size=2",
        "train.max_steps=4",
    ),
    *("sft.num_episodes=12", "sft.epochs=1", "sft.judge_samples=8", "tiny.vocabulary_episodes=24"),
    *("tiny.hidden_size=32", "tiny.intermediate_size=64", "tiny.num_layers=1"),
    *("gcd.num_questions=2", "gcd.num_judgments=2", "eval.every=1", "eval.max_games=2"),
    "env.max_steps=6",
)


def test_the_demo_works_far_from_the_checkout(environment: Path, tmp_path: Path) -> None:
    """Its preset, templates and the page's assets come with the wheel."""
    program = environment / "bin" / "declutch"
    assert "demo" in run([program, "presets"], tmp_path)
    settings = [f"env.households.{split}=6" for split in ("train", "valid_seen", "valid_unseen")]
    settings += [f"env.cache_dir={tmp_path / 'games'}", *SMALL_DEMO]
    output = run([program, "demo", "first", "--config", "demo", *settings], tmp_path)
    for words in ("L0", "L1", "L2", "more SFT", "report: first/run/report.html"):
        assert words in output
    page = (tmp_path / "first" / "run" / "report.html").read_text(encoding="utf-8")
    assert "class EpisodeBrowser" in page
    # It is the demo's experiment, whatever the folder it was started in holds.
    written = (tmp_path / "first" / "run" / "config.yaml").read_text(encoding="utf-8")
    assert "suite: households" in written
    assert "gradient_ratio: 0.5" in written

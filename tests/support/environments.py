"""Environments of their own for tests of packages that the suite's environment does not have."""

import os
import subprocess
import sysconfig
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make_environment(
    folder: Path, *extras: str, lock: Path | None = None, pinned: Sequence[str] = ()
) -> Path:
    """Make an environment with some extras of the project; gives its Python.

    It borrows all other packages from this one, and the project from this checkout.

    Args:
        lock: a file of constraints for what is installed.
        pinned: what else is installed, with its pins; it must not need another PyTorch.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.check_output([python, "-c", show], text=True).strip()
    # The own packages come first.
    borrowed = f"{ROOT}\n{sysconfig.get_path('purelib')}\n"
    (Path(packages) / "borrowed.pth").write_text(borrowed, encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for name in extras for line in project["optional-dependencies"][name]]
    wanted += pinned
    constraints = [] if lock is None else ["--constraint", lock]
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*install, *constraints, *wanted], check=True)
    return python


def keep_environment(
    variable: str, folder: Path, steps: Sequence[Sequence[str]], unfit: Sequence[str] = ()
) -> Path:
    """Make an environment that borrows nothing, since its pins differ; gives its Python.

    Args:
        variable: names in the environment's variables a folder in which it is kept and used again.
        folder: where it is made otherwise.
        steps: what pip is asked to install after PyTorch, one call after the other.
        unfit: packages that are removed again.
    """
    kept = os.environ.get(variable)
    folder = Path(kept) if kept else folder
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        venv.create(folder, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
        for step in (["torch==2.13.0"], *steps):
            subprocess.run([*install, *step], check=True)
        # The sources are tested from the checkout.
        remove = [python, "-m", "pip", "uninstall", "--quiet", "--yes"]
        subprocess.run([*remove, "declutch", *unfit], check=True)
        (folder / ".complete").touch()
    return python

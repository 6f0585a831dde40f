"""`make` heals an installation that was interrupted at any step; pip is a stand-in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYTHON = """#!/bin/sh
# `python -m venv --clear FOLDER`: a fresh environment with a pip that notes what it is asked for.
[ "$2" = venv ] || exit 1
echo venv >> "$LOG"
rm -rf "$4"; mkdir -p "$4/bin"
cat > "$4/bin/pip" <<'END'
#!/bin/sh
echo "pip $*" >> "$LOG"
count=$(grep -c ^pip "$LOG")
[ "$count" = "$STOP_AT" ] && kill -INT $PPID && exit 130
exit 0
END
printf '#!/bin/sh\\necho "demo $*" >> "$LOG"\\n' > "$4/bin/declutch"
chmod +x "$4/bin/pip" "$4/bin/declutch"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(place: Path, stop_at: int | None = None) -> tuple[int, list[str]]:
    """The status of `make demo`, and what it had done."""
    log = place / "log"
    log.write_text("")
    env = {**os.environ, "LOG": str(log), "STOP_AT": str(stop_at)}
    env.pop("MAKEFLAGS", None)
    command = ["make", "demo", f"PYTHON={place}/python"]
    # A process group of its own, whose interruption does not reach the tests.
    done = subprocess.run(
        command, cwd=place, env=env, capture_output=True, check=False, start_new_session=True
    )
    return done.returncode, log.read_text().splitlines()


def kinds(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("stop_at", [1, 2])
def test_an_interrupted_installation_is_made_anew(place: Path, stop_at: int) -> None:
    status, lines = make(place, stop_at)
    assert status
    assert kinds(lines) == ["venv", *["pip"] * stop_at]
    status, lines = make(place)
    assert (status, kinds(lines)) == (0, ["venv", "pip", "pip", "demo"])
    status, lines = make(place)
    assert (status, kinds(lines)) == (0, ["demo"])

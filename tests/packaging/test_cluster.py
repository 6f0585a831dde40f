"""The gradient of verl's own workers on a CPU, in an environment with verl and Ray.

The environment is kept in the folder that DECLUTCH_CLUSTER_VENV names, where it is set. Two ranks
of FSDP over gloo learn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from environments import keep_environment

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
PINS = (
    "torch==2.13.0",
    "transformers!=5.6.0,>=5.5.3,<5.11",
    "ray==2.60.0",
    "tensordict==0.10.0",
    "hydra-core==1.3.8",
    "antlr4-python3-runtime==4.9.3",
)
"""What was tried together; verl itself is installed without the trackers and kernels that it asks
for and never imports here."""
BESIDE = (
    *("codetiming", "datasets", "pandas", "pylatexenc", "torchdata", "pyvers", "orjson", "peft"),
    "pillow",
)
VARIABLES = {
    "VERL_PLATFORM": "cpu",
    "VERL_ENGINE_DEVICE": "cuda",
    "VERL_USE_EXTERNAL_MODULES": "verl_cpu",
    "VERL_CPU_RANKS": "2",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support"))),
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "venv"
    steps = ([*PINS, *BESIDE, str(ROOT)], ["--no-deps", "verl==0.9.1"])
    return keep_environment("DECLUTCH_CLUSTER_VENV", folder, steps)


def test_the_gradient_of_verls_ranks_is_the_learners(python: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    result = subprocess.run(
        [python, *torchrun, ROOT / "tests" / "support" / "verl_gradient.py", tmp_path],
        cwd=ROOT,
        env={**os.environ, **VARIABLES},
        capture_output=True,
        text=True,
    )
    sys.stdout.write(result.stdout[-4000:] + result.stderr[-4000:])
    assert result.returncode == 0
    found = json.loads((tmp_path / "gradient.json").read_text())
    assert len(found) == 5
    for name, each in found.items():
        assert each["largest"] > 1e-3, name
        assert each["gap"] < 1e-5 * max(1.0, each["largest"]), (name, each)

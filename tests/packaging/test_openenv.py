"""The server played by OpenEnv's own client from other processes, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from environments import make_environment

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


def test_64_sessions_at_once_and_a_killed_client_that_leaves_nothing(tmp_path: Path) -> None:
    python = make_environment(tmp_path, "openenv")
    script = ROOT / "tests" / "support" / "play_openenv.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.check_output([python, script], env=environment, text=True)
    (line,) = (line for line in output.splitlines() if line.startswith("FOUND"))
    found = json.loads(line.removeprefix("FOUND"))
    assert found["open"] == found["closed"] >= 66
    assert found["tasks"] > 20
    assert found["drawn"] > 1  # without seeds
    assert "no task 'attic'" in found["told"]
    # What the guide prints of an agent that always takes the first command.
    assert found["page"] == {"printed": [False, 0.0], "steps": 30}

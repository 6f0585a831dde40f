"""The guide of own environments, typed as it stands into an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, find_command_lines

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(1800)]

GUIDE = ROOT / "docs" / "guides" / "add-environment.md"


def success(output: str, level: str) -> float:
    """Success on a level in percent, from the table that `declutch eval` prints."""
    match = re.search(rf"^{level} +\d+ +([\d.]+)", output, flags=re.MULTILINE)
    assert match, output
    return float(match[1])


def test_its_commands_lead_from_random_play_to_an_agent_that_wins(tmp_path: Path) -> None:
    folder, outputs = tmp_path, []
    for words in find_command_lines(GUIDE.read_text(encoding="utf-8")):
        if words[0] == "cd":
            folder /= words[1]
            continue
        assert words[0] == "declutch"
        result = subprocess.run(
            [sys.executable, "-m", "declutch.cli.main", *words[1:]],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        outputs.append(result.stdout)
    evaluations = [output for output in outputs if "success by level" in output]
    before, after = evaluations[0], evaluations[-1]
    # How much is learned depends on the processor's rounding as on a seed: of four seeds the least
    # were 56.7, 51.8 and 60.4%. The colours of L2 were never an answer, nor seen: what is learned
    # of the others serves there, too.
    for level in ("L0", "L1", "L2"):
        assert 10 < success(before, level) < 25
        assert success(after, level) > 2 * success(before, level)
    # The judge was trained on the rule's labels, since the environment has no others.
    rows = (folder / "runs" / "own" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rows[-1])["judge/accuracy"] > 0.6

"""Our environments in verifiers' programs, and its environments here, in an environment apart."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from environments import make_environment

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What `play_verifiers.py` found."""
    folder = tmp_path_factory.mktemp("verifiers")
    python = make_environment(folder / "venv", "verifiers")
    (folder / "runs").mkdir()
    script = ROOT / "tests" / "support" / "play_verifiers.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.check_output([python, script, folder / "runs"], env=environment, text=True)
    (line,) = (line for line in output.splitlines() if line.startswith("FOUND"))
    return json.loads(line.removeprefix("FOUND"))


def test_its_evaluation_plays_our_games(found: dict) -> None:
    good = found["found"]
    assert good["episodes"] == good["ok"] == 8
    assert good["success"] == good["score"] == [1.0] * 8
    assert max(good["steps"]) < 9
    assert good["timed_out"] == [0.0] * 8
    assert good["tasks"][0] == "treasure/L0/L0 coin 28"
    assert len(good["tasks"]) == 4


def test_an_error_of_the_environment_is_an_error_of_one_episode(found: dict) -> None:
    frail = found["frail"]
    assert (frail["episodes"], frail["ok"]) == (8, 4)
    assert frail["success"] == [1.0] * 4  # Those that failed have no reward, and not 0.
    (error,) = frail["errors"]
    assert "the environment failed: OSError: the pipe is broken" in error


def test_it_evaluates_a_model_behind_our_server(found: dict) -> None:
    served = found["served"]
    assert served["episodes"] == served["ok"] == 3
    assert served["success"] == [0.0] * 3
    assert served["steps"] == [3.0] * 3
    assert served["timed_out"] == [1.0] * 3


def test_its_trainers_rollout_has_the_tokens_and_their_log_probabilities(found: dict) -> None:
    trained = found["trained"]
    assert trained["episodes"] == 4
    assert trained["tokens"] == 4 * 3 * 4
    assert trained["worst"] < 1e-5


def test_its_task_sets_are_played_here(found: dict) -> None:
    here = found["here"]
    assert here["levels"] == {"train": 4, "L0": 3, "L1": 3}
    assert here["names"] == ["3", "4", "5", "6"]  # L0 plays the first three.
    assert here["first"] == "How much is 2 and 2?"
    assert here["right"] == [True, True, 1.0, 1.0]
    assert here["wrong"] == [False, True, 0.0, 0.0]
    assert here["told"] == ["Guess a number below 10.", "Too low.", "Too high.", ""]
    assert here["found"][-1] == [True, True, pytest.approx(1 + 0.5 / 3)]
    assert "vf_sums" in here["eval"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("number", "RuntimeError: verifiers could not play the task: ValueError: invalid literal"),
        ("tools", "UserError: vf_tools needs tools: only an environment whose agent does nothing"),
        ("agents", "UserError: user-sim is played by 2 agents (assistant, user)"),
        ("absent", "UserError: verifiers cannot load 'no_such_taskset': ModuleNotFoundError"),
        ("unnamed", "its rewards and metrics are found, speed; name one of them"),
        ("L2", "UserError: verifiers has no L2: set env.verifiers.held_out_options"),
    ],
)
def test_what_it_cannot_carry_is_said(found: dict, case: str, message: str) -> None:
    assert message in found["here"]["failures"][case]


def test_the_pages_code_runs(found: dict) -> None:
    assert found["page"] == {"episodes": 2, "ok": 2, "keys": 3, "suite": "verifiers"}

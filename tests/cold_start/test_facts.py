"""What a cold start was: read from a model's folder, and from the run of a checkpoint."""

import json
from pathlib import Path

import pytest

from declutch.cold_start.facts import COLD_START_FILE, ColdStart, read_cold_start
from declutch.ground.errors import UserError
from declutch.runs.folder import RunFolder


def test_a_checkpoint_has_the_cold_start_of_its_run(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "iteration-00001"
    checkpoint.mkdir(parents=True)
    assert read_cold_start(checkpoint).protocol == ""
    RunFolder(tmp_path / "run").write_cold_start(vars(ColdStart("strict", 7)))
    assert read_cold_start(checkpoint) == ColdStart("strict", 7)


@pytest.mark.parametrize("text", ["{", "[]", '{"protocol": "strict", "shoes": 2}', "{}"])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / COLD_START_FILE).write_text(text)
    with pytest.raises(UserError, match=r"cold_start\.json does not say"):
        read_cold_start(tmp_path)


def test_the_facts_of_the_version_before_are_read(tmp_path: Path) -> None:
    former = {"protocol": "strict", "num_future_examples": 7}
    (tmp_path / COLD_START_FILE).write_text(json.dumps(former))
    assert read_cold_start(tmp_path) == ColdStart("strict", num_prediction_examples=7)

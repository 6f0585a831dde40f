"""Runs of a former version, whose config.yaml has former names of settings."""

from pathlib import Path

import pytest
import yaml

from declutch.config.files import change_config, dump_config, load_config
from declutch.config.run import Config
from declutch.ground.errors import UserError
from declutch.runs.claims import check_claim
from declutch.runs.folder import RunFolder
from declutch.runs.read import read_run

OVERRIDES = ["sft.suggestion_share=0.25", "gcd.suggestions.max_suggestions=3", "seed=7"]


@pytest.fixture
def former(tmp_path: Path) -> tuple[RunFolder, Config]:
    """A run folder as the former version wrote it, and its settings."""
    config = load_config(None, OVERRIDES)
    data = yaml.safe_load(dump_config(config))
    data["sft"]["guided_share"] = data["sft"].pop("suggestion_share")
    data["sft"]["demos"] = data["sft"].pop("demonstrations")
    suggestions = data["gcd"]["suggestions"]
    suggestions["max_rules"] = suggestions.pop("max_suggestions")
    run = RunFolder(tmp_path / "run").create()
    run.config_path.write_text(yaml.safe_dump(data))
    return run, config


def test_it_is_resumed_with_the_settings_it_was_started_with(
    former: tuple[RunFolder, Config],
) -> None:
    run, config = former
    assert run.read_config() == config


def test_it_is_told_from_one_of_other_settings(former: tuple[RunFolder, Config]) -> None:
    run, config = former
    check_claim(run.config_path, config)
    with pytest.raises(UserError, match=r"says sft\.suggestion_share=0\.25, but .*=0\.5"):
        check_claim(run.config_path, change_config(config, sft={"suggestion_share": 0.5}))


def test_its_report_reads_the_names_of_today(former: tuple[RunFolder, Config]) -> None:
    run, config = former
    assert read_run(run).config == yaml.safe_load(dump_config(config))

"""Presets are found by name in any folder, and a name that is none is one error."""

from pathlib import Path

import pytest

from declutch.config.files import load_config, read_layers
from declutch.config.preset import FOLDER, find_settings_file, list_presets
from declutch.ground.errors import UserError


def test_a_preset_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config([Path("demo"), Path("methods/ppo")], ["seed=3"])
    assert (config.env.suite, config.algorithm.type, config.seed) == ("households", "ppo", 3)
    assert config.env.households.valid_seen == 2400


def test_a_file_of_the_user_s_own_wins_over_a_preset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("seed: 5\n")
    assert read_layers([Path("demo")]) == {"seed": 5}


def test_every_preset_is_valid_settings_and_says_what_it_is_for():
    presets = list_presets()
    names = [preset.name for preset in presets]
    assert names[:3] == ["demo", "laptop", "scienceworld"]
    assert "methods/gcd_sugg" in names
    assert len(names) == len(list(FOLDER.rglob("*.*")))
    for preset in presets:
        assert len(preset.description) > 20, preset.name
        if not preset.name.startswith("methods/rlvmr"):
            load_config(preset.path)


@pytest.mark.parametrize("name", ["laptpo", "methods/none", "configs"])
def test_a_name_of_neither_file_nor_preset_is_an_error_that_lists_presets(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"--config {name}: there is no .*demo, laptop"):
        find_settings_file(Path(name))


def test_a_missing_yaml_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")

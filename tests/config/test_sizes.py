"""Settings of large models are told from those of small ones."""

import pytest

from declutch.config.files import load_config
from declutch.config.run import Config
from declutch.config.sizes import LEAST_RATES, SMALL_MODEL, hint_for_size


@pytest.mark.parametrize("key", LEAST_RATES)
def test_the_defaults_are_for_large_models_and_the_preset_tiny_for_small_ones(key: str) -> None:
    section, name = key.split(".")
    default = getattr(getattr(Config(), section), name)
    tiny = getattr(getattr(load_config("tiny"), section), name)
    hint = hint_for_size(200_000, key, default)
    assert f"0.2 M parameters, and {key}={default:g}" in hint
    assert "--config tiny" in hint
    assert hint_for_size(200_000, key, tiny) == ""
    assert hint_for_size(SMALL_MODEL, key, default) == ""


@pytest.mark.parametrize("preset", ["demo", "laptop", "scienceworld"])
def test_presets_of_small_models_have_their_rates(preset: str) -> None:
    config = load_config(preset)
    assert hint_for_size(10**6, "sft.lr", config.sft.lr) == ""
    assert hint_for_size(10**6, "optimizer.lr", config.optimizer.lr) == ""

"""The list of all settings: complete, documented, and with defaults that are the defaults."""

import subprocess
import sys

import pytest

from declutch.config.algorithm import METHODS
from declutch.config.files import load_config
from declutch.config.listing import Setting, list_settings
from declutch.config.run import Config

SECTIONS = list_settings()
SETTINGS = [(section, setting) for section in SECTIONS for setting in section.settings]


def flatten(data: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def find(key: str) -> Setting:
    return next(setting for _, setting in SETTINGS if setting.key == key)


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_is_listed(method: str) -> None:
    overrides = [f"algorithm.type={method}", "agent.reasoning=meta"]
    own = {setting.key for section, setting in SETTINGS if section.method in ("", method)}
    assert own == set(flatten(load_config(None, overrides).model_dump(mode="json")))


@pytest.mark.parametrize(
    ("section", "setting"), SETTINGS, ids=[f"{s.method}{x.key}" for s, x in SETTINGS]
)
def test_a_setting_says_in_sentences_what_it_means(section, setting) -> None:
    assert setting.meaning[0].isupper()
    assert setting.meaning.endswith(".")
    assert len(setting.meaning.split()) >= 4
    assert section.meaning.endswith(".")


def test_a_default_is_written_as_on_the_command_line() -> None:
    needed = ["algorithm.type=grpo"]
    items = [f"{s.key}={s.default}" for section, s in SETTINGS if section.method in ("", "grpo")]
    assert load_config(None, [*items, *needed]) == Config()


@pytest.mark.parametrize(
    ("key", "values", "default"),
    [
        ("loss.clip_low", "number, above 0 and below 1", "0.2"),
        ("train.max_steps", "integer, at least 1, or null", "null"),
        ("env.alfworld.data_dir", "path or null", "null"),
        ("eval.levels", "list of words", "[L0, L1, L2]"),
        ("eval.seeds", "list of integers", "[0]"),
        ("env.scienceworld.held_out", "by_name, by_task_id or none", "by_name"),
        ("agent.constrain_actions", "true or false", "true"),
        ("model.path", "text", "''"),
    ],
)
def test_values_and_defaults_in_words(key: str, values: str, default: str) -> None:
    assert (find(key).values, find(key).default) == (values, default)


def test_settings_load_without_the_model_libraries() -> None:
    code = """
import pkgutil, importlib, sys
import declutch.config as room
for module in pkgutil.iter_modules(room.__path__):
    importlib.import_module(f"declutch.config.{module.name}")
from declutch.config.files import load_config
for method in ("grpo", "ppo", "rlvmr"):
    load_config(None, [f"algorithm.type={method}", "agent.reasoning=meta"])
from declutch.config.listing import list_settings
assert list_settings()
print(*(name for name in ("torch", "transformers", "numpy", "scipy") if name in sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "\n"

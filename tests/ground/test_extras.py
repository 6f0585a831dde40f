"""Extras: the command that installs each is one that can be typed."""

import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from declutch.ground import extras
from declutch.ground.extras import install_command, is_installed, list_extras, requirements_of

DECLARED = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


def test_every_extra_has_its_packages_by_name() -> None:
    assert set(list_extras()) <= set(DECLARED)
    for extra in list_extras():
        declared = {Requirement(each).name for each in DECLARED[extra]}
        assert {Requirement(each).name for each in requirements_of(extra)} <= declared


def test_the_command_names_packages_and_the_pip_of_this_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extras, "requirements_of", lambda extra: ("peft>=0.17",))
    monkeypatch.setattr(extras, "_constraints", lambda: [])
    monkeypatch.setattr("sys.executable", "/some where/bin/python")
    monkeypatch.setattr("shutil.which", lambda name: "/some where/bin/pip")
    assert install_command("lora") == "pip install 'peft>=0.17'"
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/pip")
    words = shlex.split(install_command("lora"))
    assert words == ["/some where/bin/python", "-m", "pip", "install", "peft>=0.17"]


def test_a_package_in_another_version_is_not_installed() -> None:
    assert is_installed("packaging>=1")
    assert not is_installed("packaging>=9999")
    assert not is_installed("no-such-package-at-all>=1")

"""Task sets of verifiers as a suite, as far as it can be said without the package."""

from __future__ import annotations

import importlib.util

import pytest

from declutch.config.env import EnvConfig
from declutch.config.files import parse_config
from declutch.envs.registry import find_spec, make_suite
from declutch.ground.errors import Status, UserError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("verifiers") is not None, reason="the package is there"
)
SUITE = EnvConfig(suite="verifiers")


def test_without_the_package_it_is_said_how_to_install_it() -> None:
    with pytest.raises(UserError, match=r"env.suite=verifiers needs the package verifiers: .*pip"):
        make_suite(SUITE)
    (finding,) = find_spec(SUITE).diagnose(SUITE, ["L0"])
    assert finding.status is Status.PROBLEM
    assert "verifiers" in finding.remedy


def test_a_mask_of_actions_is_refused_with_the_settings() -> None:
    with pytest.raises(UserError, match=r"set agent\.constrain_actions=false"):
        parse_config({"env": {"suite": "verifiers"}}, "test")
    parse_config({"env": {"suite": "verifiers"}, "agent": {"constrain_actions": False}}, "test")


def test_our_package_for_verifiers_says_so_too() -> None:
    with pytest.raises(UserError, match="the adapter needs the package verifiers"):
        importlib.import_module("declutch_games")

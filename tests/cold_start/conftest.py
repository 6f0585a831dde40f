"""A tiny model and demonstrations, made once for all tests of the cold start."""

from pathlib import Path

import pytest
from demonstrating import Material, demonstrate

from declutch.agent.codec import Codec
from declutch.cold_start.demonstrate import DemonstrationPlan
from declutch.cold_start.demonstrations import Demonstration, read_demonstrations
from declutch.cold_start.examples import PromptStyle
from declutch.cold_start.pipeline import make_demonstrations, make_tiny
from declutch.config.env import HouseholdsConfig
from declutch.config.files import parse_config
from declutch.config.policy import TinyConfig
from declutch.envs.alfworld.levels import HELD_OUT_KINDS
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.households.generate import HouseholdCounts, ensure_households
from declutch.envs.registry import make_suite
from declutch.rollout.policy import load_policy


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("cold")
    config = parse_config(
        {
            "env": {
                "cache_dir": str(folder),
                "households": HouseholdsConfig(train=24, valid_seen=6, valid_unseen=6).model_dump(),
            },
            "tiny": TinyConfig(hidden_size=32, num_layers=2, intermediate_size=64).model_dump(),
            "sft": {"num_episodes": 20, "perturb": 0.4},
        },
        "test",
    )
    suite = make_suite(config.env)
    make_tiny(config, suite, folder / "tiny")
    make_demonstrations(config, suite, folder / "demonstrations.jsonl")
    _, demonstrations = read_demonstrations(folder / "demonstrations.jsonl")
    return Material(suite, folder / "tiny", demonstrations)


@pytest.fixture(scope="session")
def demonstrations(material: Material) -> list[Demonstration]:
    """As the templates word them."""
    return material.demonstrations


@pytest.fixture(scope="session")
def codec(material: Material) -> Codec:
    config = parse_config({"model": {"path": str(material.model)}}, "test")
    return load_policy(material.model, config).codec


@pytest.fixture(scope="session")
def style(codec: Codec) -> PromptStyle:
    return PromptStyle(codec, history_length=6)


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> AlfworldSuite:
    counts = HouseholdCounts(train=36, valid_seen=12, valid_unseen=6)
    folder = ensure_households(tmp_path_factory.mktemp("games"), 2, counts)
    return AlfworldSuite(folder, "households")


@pytest.fixture(scope="session")
def strict_file(suite: AlfworldSuite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demonstrations") / "strict.jsonl"
    demonstrate(suite, path, DemonstrationPlan(40, "strict", HELD_OUT_KINDS, seed=5))
    return path

"""From a configuration to the suite it names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from declutch.config import EnvConfig
from declutch.envs.alfworld.households import HouseholdCounts, ensure_households
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.errors import UserError


def make_suite(config: EnvConfig, progress: Callable[[int, int], None] | None = None) -> Any:
    """The `Suite` of `config`; generated games are made on first use.

    Args:
        progress: told (done, total) while games are generated.
    Raises:
        UserError: no data where the configuration says, or a missing package.
    """
    if config.suite == "scienceworld":
        return ScienceWorldSuite(config.scienceworld)
    cache = config.cache_dir.expanduser()
    if config.suite == "households":
        households = config.households
        counts = HouseholdCounts(
            train=households.train,
            valid_seen=households.valid_seen,
            valid_unseen=households.valid_unseen,
        )
        data_dir = ensure_households(cache, households.seed, counts, progress)
        return AlfworldSuite(data_dir, "households", cache / "compiled")
    return AlfworldSuite(alfworld_data_dir(config), "alfworld", cache / "compiled")


def alfworld_data_dir(config: EnvConfig) -> Path:
    """Where the official games are.

    Raises:
        UserError: nobody said.
    """
    if config.data_dir is not None:
        return config.data_dir.expanduser()
    # The variable is the official tools' own way to say where the games are.
    folder = os.environ.get("ALFWORLD_DATA", "")
    if not folder:
        raise UserError(
            "env.suite=alfworld needs the official games: set env.data_dir (or ALFWORLD_DATA) to "
            "the folder that holds json_2.1.1, get them with `alfworld-download` (pip install "
            "alfworld), or use env.suite=households, which generates its own"
        )
    return Path(folder).expanduser()

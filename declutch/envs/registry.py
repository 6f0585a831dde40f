"""From a configuration to the suite it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from declutch.config.env import EnvConfig, MathConfig, is_custom
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.custom import load_suite
from declutch.envs.households.generate import HouseholdCounts, ensure_households
from declutch.envs.math import MATH, MathSuite, generate_math, read_math
from declutch.envs.protocol import Suite
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.envs.scienceworld.wording import SCIENCE
from declutch.envs.wording import PLAIN, Wording
from declutch.errors import UserError


def make_suite(config: EnvConfig, progress: Callable[[int, int], None] | None = None) -> Suite:
    """The suite of `config`; generated games are made on first use.

    Args:
        progress: told (done, total) while games are generated.
    Raises:
        UserError: no data where the configuration says, no such environment, or a missing package.
    """
    if is_custom(config.suite):
        return load_suite(config.suite)
    cache = config.cache_dir.expanduser()
    if config.suite == "scienceworld":
        return ScienceWorldSuite(config.scienceworld, cache / "scienceworld")
    if config.suite == "math":
        return make_math(config.math, cache, progress)
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


def make_math(
    config: MathConfig, cache: Path, progress: Callable[[int, int], None] | None = None
) -> MathSuite:
    """The problems of a MATH file, or generated ones. Raises UserError."""
    if config.file is not None:
        return MathSuite(read_math(config.file.expanduser()))
    sizes = {"train": config.train, "dev": config.dev, "test": config.test}
    return MathSuite(generate_math(config.seed, sizes, cache, progress))


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


WORDINGS: Mapping[str, Wording] = MappingProxyType(
    {"alfworld": HOUSEHOLD, "households": HOUSEHOLD, "math": MATH, "scienceworld": SCIENCE}
)


def wording_of(suite: str) -> Wording:
    """The words for what `env.suite` names."""
    return WORDINGS.get(suite, PLAIN)

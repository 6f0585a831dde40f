"""From `env.suite` to the suite it names: one line a suite."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from declutch.config.env import EnvConfig
from declutch.envs.adapters.from_gymnasium import GYMNASIUM
from declutch.envs.adapters.from_verifiers import VERIFIERS
from declutch.envs.alfworld.spec import ALFWORLD
from declutch.envs.custom import CUSTOM
from declutch.envs.households.spec import HOUSEHOLDS
from declutch.envs.math.spec import MATH_PROBLEMS
from declutch.envs.protocol import Progress, Suite, SuiteSpec, wording_of
from declutch.envs.scienceworld.spec import SCIENCEWORLD
from declutch.envs.wording import Wording

SUITES: Mapping[str, SuiteSpec] = MappingProxyType(
    {
        "alfworld": ALFWORLD,
        "gymnasium": GYMNASIUM,
        "households": HOUSEHOLDS,
        "math": MATH_PROBLEMS,
        "scienceworld": SCIENCEWORLD,
        "verifiers": VERIFIERS,
    }
)


def find_spec(config: EnvConfig) -> SuiteSpec:
    """Find in the registry the spec of the suite `env.suite` names, before any game is made."""
    return SUITES.get(config.suite, CUSTOM)


def make_suite(config: EnvConfig, progress: Progress | None = None) -> Suite:
    """Make the suite that the registry has for `env.suite`; games are generated on first use.

    Args:
        progress: told (done, total) while games are generated.
    Raises:
        UserError: no data where the configuration says, no such environment, or a missing package.
    """
    return find_spec(config).make(config, progress)


def find_wording(config: EnvConfig) -> Wording:
    """Find by the suite registry the words of prompts for `env.suite`, without its games.

    Raises:
        UserError: an environment of the user's own that cannot be made.
    """
    spec = find_spec(config)
    return spec.wording if spec.wording is not None else wording_of(spec.make(config, None))


def level_meaning(suite: str, level: str) -> str:
    """Say in one phrase what a level of a suite in the registry holds, "" where it is not known."""
    spec = SUITES.get(suite)
    known = spec.levels.get(level) if spec is not None else None
    return known.meaning if known is not None else ""

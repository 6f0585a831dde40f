"""How ScienceWorld is made a suite, and what it needs on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.config.env import EnvConfig, ScienceWorldConfig
from declutch.envs.diagnosis import count_games, format_counts, installed_version, problem_of
from declutch.envs.protocol import Progress, SuiteSpec
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.envs.scienceworld.tasks import make_levels
from declutch.envs.scienceworld.wording import SCIENCE
from declutch.ground.errors import Finding, Status, UserError


def make_scienceworld(config: EnvConfig, progress: Progress | None = None) -> ScienceWorldSuite:
    """For ScienceWorld's spec, make its suite. Raises UserError without the package or Java."""
    return ScienceWorldSuite(config.scienceworld, config.cache_dir.expanduser() / "scienceworld")


def diagnose_scienceworld(config: EnvConfig, levels: Sequence[str]) -> list[Finding]:
    """For ScienceWorld's spec, find what it needs: the simulator, a Java, and room for JVMs."""
    name, own = "ScienceWorld", config.scienceworld
    try:
        suite = ScienceWorldSuite(own)
    except UserError as error:
        return [problem_of(name, error)]
    detail = (
        f"{installed_version('scienceworld')} with {suite.launch.java}\n"
        f"up to {own.max_live} JVMs of some 200 MiB, and one that plans of up to 600 MiB\n"
        f"{format_counts(count_games(suite))}"
    )
    return [Finding(name, Status.OK, detail)]


SCIENCEWORLD = SuiteSpec(
    make_scienceworld, diagnose_scienceworld, make_levels(ScienceWorldConfig().held_out), SCIENCE
)

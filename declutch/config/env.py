"""Settings of the environments: which suite is played, and each suite's own section."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from declutch.config.policy import AgentConfig
from declutch.config.section import Section
from declutch.errors import nearest

SUITES = ("alfworld", "households", "math", "scienceworld")


def is_custom(suite: str) -> bool:
    """Whether `env.suite` names an environment of the user's own, "package.module:Name"."""
    module, separator, name = suite.partition(":")
    parts = (*module.split("."), name)
    return bool(separator) and all(part.isidentifier() for part in parts)


class SuiteSection(Section):
    """What only one suite is set by; the base class of every suite's own section."""

    def conflict_with(self, agent: AgentConfig) -> str:
        """Why an agent that is set so cannot play the suite, and the remedy; "" where it can."""
        return ""


class HouseholdsConfig(SuiteSection):
    seed: int = 0
    """Seed of the generated games."""
    train: int = Field(default=1600, ge=0)
    """Games of the train split, all six task types."""
    valid_seen: int = Field(default=700, ge=0)
    """Games in rooms of the train split, with new placements."""
    valid_unseen: int = Field(default=700, ge=0)
    """Games in rooms that the train split never shows."""


class MathConfig(SuiteSection):
    file: Path | None = None
    """MATH as JSON lines (problem, solution or answer, type); null generates problems by topic."""
    seed: int = 0
    """Seed of the generated problems."""
    train: int = Field(default=200, ge=0)
    """Generated problems per subject to train on, all seven subjects."""
    dev: int = Field(default=50, ge=0)
    """Generated problems per subject for L0."""
    test: int = Field(default=50, ge=0)
    """Generated problems per subject for L1 and L2."""


class ScienceWorldConfig(SuiteSection):
    actions: Literal["enumerated", "templates"] = "enumerated"
    """"enumerated" lists every action that does something now, often hundreds, as a mask needs;
    "templates" lists forms of actions and the objects within reach, as the papers' prompt does, and
    is several times faster."""
    held_out: Literal["by_name", "by_task_id", "none"] = "by_name"
    """Which task of a topic counts as its last and is held out: by the alphabet, or by its id;
    "none" trains on all 30, so that there is no L2."""
    kinds: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Tasks to play, by name; null takes all 30. A level has those of its own among them: results
    over fewer tasks are comparable with their like alone."""
    success_score: int = Field(default=100, ge=1, le=100)
    """Score in percent from which a finished task counts as won."""
    max_live: int = Field(default=8, ge=1)
    """Episodes played at once, each in a JVM of its own with some 200 MiB."""
    heap_mib: int = Field(default=128, ge=64)
    """Cap of a JVM's heap in MiB; about 20 are in use."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """A JVM that takes longer to start or to answer is replaced; its episode is an env_error."""
    java: Path | None = None
    """A Java executable (11 or later); null takes the one that comes with the extra."""

    def conflict_with(self, agent: AgentConfig) -> str:
        """Forms of actions name no single action that a mask could allow."""
        if self.actions == "templates" and agent.constrain_actions:
            return (
                "env.scienceworld.actions=templates names no single action to mask to; set "
                "agent.constrain_actions=false or env.scienceworld.actions=enumerated"
            )
        return ""


class EnvConfig(Section):
    suite: str = "households"
    """"households" generates its games, nothing to download; "alfworld" reads the official ones;
    "scienceworld" needs the extra of that name; "math" asks problems of one step;
    "package.module:Name" is an environment of your own."""
    data_dir: Path | None = None
    """Folder that holds json_2.1.1; for "alfworld" the variable ALFWORLD_DATA is the default."""
    cache_dir: Path = Path("~/.cache/declutch")
    """Compiled and generated games; safe to delete."""
    households: HouseholdsConfig = HouseholdsConfig()
    math: MathConfig = MathConfig()
    scienceworld: ScienceWorldConfig = ScienceWorldConfig()
    max_steps: int = Field(default=30, ge=1)
    """Steps per episode; an episode that needs more has timed out, which is a failure."""

    @property
    def section(self) -> SuiteSection:
        """The chosen suite's own section; an empty one for a suite without settings of its own."""
        own = getattr(self, self.suite, None)
        return own if isinstance(own, SuiteSection) else SuiteSection()

    @field_validator("suite")
    @classmethod
    def _check_suite(cls, suite: str) -> str:
        if suite not in SUITES and not is_custom(suite):
            raise ValueError(
                f"no such suite{nearest(suite, SUITES)} (package.module:Name names one of your own)"
            )
        return suite

"""Settings of the environments: which suite is played, and each suite's own section."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import Field, JsonValue, field_validator

from declutch.config.dotted import is_dotted
from declutch.config.policy import AgentConfig
from declutch.config.section import Section
from declutch.ground.errors import nearest


class SuiteSection(Section):
    """Settings of one environment suite only; the base class of every suite's own section."""

    def conflict_with(self, agent: AgentConfig) -> str:
        """Why an agent that is set so cannot play the suite, and the remedy; "" where it can."""
        return ""


HouseholdKind = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]


class HouseholdSection(SuiteSection):
    """Settings that the two environments of household tasks share."""

    held_out_kinds: tuple[HouseholdKind, ...] = (
        "pick_cool_then_place_in_recep",
        "pick_two_obj_and_place",
    )
    """The task types that training never plays and L2 shows; the default follows GiGPO and RLVMR.
    Results are comparable only with others over the same types."""

    @field_validator("held_out_kinds")
    @classmethod
    def _leave_some(cls, kinds: tuple[HouseholdKind, ...]) -> tuple[HouseholdKind, ...]:
        if len(set(kinds)) < len(kinds):
            raise ValueError("a task type is named twice")
        if not 0 < len(kinds) < len(get_args(HouseholdKind)):
            raise ValueError("at least one task type has to be held out, and one has to be trained")
        return kinds


class AlfworldConfig(HouseholdSection):
    """Settings of the environment `alfworld`, the official games of ALFWorld."""

    data_dir: Path | None = None
    """The folder that holds json_2.1.1, the official games; null takes that in the environment
    variable ALFWORLD_DATA."""


class GymnasiumConfig(SuiteSection):
    """Settings of the environment `gymnasium`, a text environment that Gymnasium makes."""

    id: str = ""
    """What gymnasium.make is given for the splits train and L0, such as "MyText-v0", or
    "my_module:MyText-v0" where a module has to be imported to register it."""
    seen_id: str = ""
    """The same for L0 alone, where other seeds of the trained environment may be equal tasks; ""
    takes env.gymnasium.id."""
    unseen_id: str = ""
    """The same for L1, the trained kind of task in new surroundings; "" leaves L1 out."""
    held_out_id: str = ""
    """The same for L2, another kind of task; "" leaves L2 out."""
    options: dict[str, JsonValue] | None = None
    """Keyword arguments of gymnasium.make; null gives none."""
    train: int = Field(default=1000, ge=1)
    """How many tasks the train split has. A task is a seed given to reset."""
    evaluated: int = Field(default=100, ge=1)
    """How many tasks each of L0, L1 and L2 has; their seeds are none of the train split's."""
    success: str = "success"
    """The key beside the observation that says whether the task is won. An environment that ends an
    episode without it ends it as an environment error: a positive reward is not success."""
    admissible: str = "admissible"
    """The key beside the observation that lists the commands which do something now. Without it
    answers are free, which only an environment whose actions are texts can take."""


class HouseholdsConfig(HouseholdSection):
    """Settings of the environment `households`: how many games are generated, and of which seed."""

    seed: int = 0
    """The seed that the games are generated from."""
    train: int = Field(default=1600, ge=0)
    """How many games the train split has, of all six task types."""
    valid_seen: int = Field(default=700, ge=0)
    """How many games play in rooms of the train split, with things placed anew."""
    valid_unseen: int = Field(default=700, ge=0)
    """How many games play in rooms that the train split never shows."""


class MathConfig(SuiteSection):
    """Settings in the section `env.math`: the file or the generator that its problems come from."""

    file: Path | None = None
    """The MATH data set as JSON lines with the keys problem, solution or answer, and type; null
    generates problems by topic."""
    seed: int = 0
    """The seed that problems are generated from."""
    train: int = Field(default=200, ge=0)
    """How many problems of each of the seven subjects are generated to train on."""
    dev: int = Field(default=50, ge=0)
    """How many problems of each subject are generated for L0."""
    test: int = Field(default=50, ge=0)
    """How many problems of each subject are generated for L1 and L2."""


class ScienceWorldConfig(SuiteSection):
    """Settings in the section `env.scienceworld`: tasks, actions, and the simulator's Java."""

    actions: Literal["enumerated", "templates"] = "enumerated"
    """What an observation lists: "enumerated" every action that does something now, often hundreds,
    as a mask needs them; "templates" forms of actions and the objects within reach, as the papers'
    prompt does, which is several times faster."""
    held_out: Literal["by_name", "by_task_id", "none"] = "by_name"
    """Which task of a topic is held out: the last of its tasks by name or by id. "none" holds none
    out and trains on all 30, so that there is no L2."""
    kinds: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The names of the tasks to play; null takes all 30. A level keeps those of its tasks that are
    among them, so that results are comparable only with others over the same tasks."""
    success_score: int = Field(default=100, ge=1, le=100)
    """The score, in percent, from which a finished task counts as won."""
    max_live: int = Field(default=8, ge=1)
    """How many episodes are played at once, each in a Java process of its own that takes some 200
    MiB."""
    heap_mib: int = Field(default=128, ge=64)
    """The largest heap of such a process, in MiB; about 20 MiB are in use."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """How many seconds such a process may take to start or to answer. One that takes longer is
    replaced, and its episode counts as an environment error."""
    java: Path | None = None
    """A Java executable, of version 11 or later; null takes the one that comes with the extra
    `scienceworld`, else that of the system."""

    def conflict_with(self, agent: AgentConfig) -> str:
        """Forms of actions name no single action that a mask could allow."""
        if self.actions == "templates" and agent.constrain_actions:
            return (
                "env.scienceworld.actions=templates names no single action to mask to; set "
                "agent.constrain_actions=false or env.scienceworld.actions=enumerated"
            )
        return ""


class VerifiersConfig(SuiteSection):
    """Settings of the environment `verifiers`, a task set of verifiers that is played here."""

    id: str = ""
    """The name of the task set, as `vf-eval` is given it, such as "gsm8k"."""
    environment: str = ""
    """The name of an environment that plays the task set, as `--env.id` names it; "" takes the task
    set's own."""
    options: dict[str, JsonValue] | None = None
    """Settings of the task set, as `--env.taskset.NAME` gives them; null gives none."""
    seen_options: dict[str, JsonValue] | None = None
    """The same for L0, such as another split of the same data. Null keeps the first
    env.verifiers.evaluated tasks from training and plays those."""
    unseen_options: dict[str, JsonValue] | None = None
    """The same for L1, the trained kind of task in new surroundings; null leaves L1 out."""
    held_out_options: dict[str, JsonValue] | None = None
    """The same for L2, another kind of task; null leaves L2 out."""
    train: int = Field(default=1000, ge=1)
    """The most tasks of the train split."""
    evaluated: int = Field(default=100, ge=1)
    """The most tasks of each of L0, L1 and L2."""
    success: str = ""
    """The reward or metric that is 1 where the task is won. "" takes the only reward of an
    environment that has no more than one; of several, none is success by itself."""

    def conflict_with(self, agent: AgentConfig) -> str:
        """An environment of verifiers lists no commands that a mask could allow."""
        if agent.constrain_actions:
            return (
                "env.suite=verifiers names no action to mask to, since answers are free; set "
                "agent.constrain_actions=false"
            )
        return ""


class EnvConfig(Section):
    """Settings of the environment: which one is played, for how long, and where its games are."""

    suite: str = "households"
    """The environment: "households" generates its games, so that nothing has to be downloaded;
    "alfworld" reads the official ones; "scienceworld" needs the extra of that name; "math" asks
    problems of one step; "gymnasium" is a text environment that Gymnasium makes; "verifiers" is a
    task set of verifiers; "package.module:Name" is an environment of your own."""
    cache_dir: Path = Path("~/.cache/declutch")
    """The folder of compiled and generated games; it is safe to delete."""
    alfworld: AlfworldConfig = AlfworldConfig()
    gymnasium: GymnasiumConfig = GymnasiumConfig()
    households: HouseholdsConfig = HouseholdsConfig()
    math: MathConfig = MathConfig()
    scienceworld: ScienceWorldConfig = ScienceWorldConfig()
    verifiers: VerifiersConfig = VerifiersConfig()
    max_steps: int = Field(default=30, ge=1)
    """The most steps of an episode. One that needs more has timed out, which is a failure."""

    @property
    def section(self) -> SuiteSection:
        """The chosen suite's own section; an empty one for a suite without settings of its own."""
        own = getattr(self, self.suite, None)
        return own if isinstance(own, SuiteSection) else SuiteSection()

    @field_validator("suite")
    @classmethod
    def _check_suite(cls, suite: str) -> str:
        if suite not in SUITES and not is_dotted(suite):
            raise ValueError(
                f"no such suite{nearest(suite, SUITES)} (package.module:Name names one of your own)"
            )
        return suite


SUITES: Final = tuple(
    name
    for name, field in EnvConfig.model_fields.items()
    if isinstance(field.default, SuiteSection)
)
"""The suites that `env.suite` knows by name: those with a section of their own."""

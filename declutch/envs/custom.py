"""Environments of the user's own, named by a dotted path: `env.suite: my_package.my_env:MyEnv`.

What is named is called without arguments and gives either a whole `Suite` or one live environment
that also knows its tasks, a `UserEnv`. examples/treasure.py is a whole one.
"""

from __future__ import annotations

import inspect
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from declutch.config.dotted import import_dotted
from declutch.config.env import EnvConfig
from declutch.envs.diagnosis import count_games, format_counts, own_findings, problem_of
from declutch.envs.protocol import (
    Observation,
    Progress,
    SeededEnv,
    Suite,
    SuiteSpec,
    TextEnv,
)
from declutch.envs.splits import USUAL_LEVELS
from declutch.envs.wording import PLAIN, Wording
from declutch.ground.errors import Finding, Status, UserError
from declutch.records import TaskId

TRAINED = ("rl-train", "L0-train")
"""Other names of the training tasks that are not held out."""


class UserEnv(TextEnv, Protocol):
    """A custom environment, the user's own: one live environment that knows its tasks.

    It may have, besides: `wording`, the words of its prompts and how they are shortened for the
    compact one, see `Wording`; `held_out_kinds`, task types that only the level L2 may show;
    `is_deterministic = False`, which makes `reset` take a seed, see `SeededEnv`;
    `make_expert(seed)`, see `HasExpert`; `label_action(action)`, see `Oracle`; `diagnose()`, what
    it needs on this machine, see `HasChecks`.
    """

    name: str

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """The tasks of "train", "L0", "L1" or "L2" in a fixed order; () where there are none."""
        ...


class CustomSuite:
    """A custom suite, made of a class or function of the user's own that makes environments."""

    def __init__(self, spec: str, make_env: Callable[[], UserEnv]) -> None:
        """
        Args:
            spec: what the configuration called it, for messages.
            make_env: makes a live environment.
        Raises:
            UserError: what it makes lacks a method.
        """
        self._make_env = make_env
        self._spec = spec
        self._lister = _call(spec, make_env)
        for method in ("tasks", "reset", "step", "close"):
            if not callable(getattr(self._lister, method, None)):
                raise UserError(
                    f"env.suite={spec!r} has no method {method}(); an environment needs name, "
                    "tasks(split), reset(task), step(action) and close(), see examples/treasure.py"
                )
        if not isinstance(getattr(self._lister, "name", None), str):
            raise UserError(f"env.suite={spec!r} has no name: give it an attribute name = '...'")
        self.name = self._lister.name
        self.held_out_kinds: tuple[str, ...] = tuple(getattr(self._lister, "held_out_kinds", ()))
        self.wording: Wording = getattr(self._lister, "wording", PLAIN)
        if not isinstance(self.wording, Wording):
            raise UserError(
                f"env.suite={spec!r} has a wording that is no declutch.envs.wording.Wording"
            )
        self.is_deterministic: bool = getattr(self._lister, "is_deterministic", True)
        if not isinstance(self.is_deterministic, bool):
            raise UserError(
                f"env.suite={spec!r} has is_deterministic={self.is_deterministic!r}: it is True or "
                "False"
            )
        # None where there is none, which is how `HasExpert` and `HasChecks` know.
        self.make_expert = getattr(self._lister, "make_expert", None)
        self.diagnose = getattr(self._lister, "diagnose", None)
        self._splits: dict[str, tuple[TaskId, ...]] = {}

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """The tasks of a split or level.

        Raises:
            UserError: none, or something that is no task.
        """
        if split in TRAINED:
            return tuple(t for t in self.tasks("train") if t.kind not in self.held_out_kinds)
        if split not in self._splits:
            self._splits[split] = self._list_split(split)
        if not self._splits[split]:
            raise UserError(
                f"{self.name} has no task for {split!r}: its tasks({split!r}) is empty; leave the "
                "level out (eval.levels, train.split) or give it tasks"
            )
        return self._splits[split]

    def make_env(self) -> TextEnv:
        """Make a new live environment of the user's own; by default it takes a seed of the task."""
        env = _call(self._spec, self._make_env)
        if not self.is_deterministic:
            _give_seeds(env, self._spec)
        return env

    def count_games(self) -> Mapping[str, Mapping[str, int]]:
        """Number of tasks by split and task type; absent splits count 0."""
        return {s: Counter(task.kind for task in self._list_split(s)) for s in USUAL_LEVELS}

    def _list_split(self, split: str) -> tuple[TaskId, ...]:
        tasks = tuple(self._lister.tasks(split) or ())
        for task in tasks:
            if not isinstance(task, TaskId):
                raise UserError(
                    f"{self._spec}: tasks({split!r}) gives {task!r}, not a declutch.records.TaskId"
                )
        return tasks


def _give_seeds(env: UserEnv, spec: str) -> None:
    """Have an environment take a seed of the task where nobody gives one."""
    reset = cast(SeededEnv, env).reset
    try:
        inspect.signature(reset).bind(None, 0)
    except TypeError:
        raise UserError(
            f"env.suite={spec!r} has is_deterministic=False, so that its reset has to take a seed: "
            "def reset(self, task, seed)"
        ) from None

    def seeded(task: TaskId, seed: int | None = None) -> Observation:
        return reset(task, zlib.crc32(task.name.encode()) if seed is None else seed)

    env.reset = seeded  # type: ignore[method-assign]


def load_suite(spec: str) -> Suite:
    """Load the custom environment, the user's own, that "package.module:Name" names, as a suite.

    Raises:
        UserError: nothing there, or nothing that is a suite or an environment.
    """
    try:
        factory = import_dotted(spec)
    except ValueError as error:
        raise UserError(f"env.suite={spec!r}: {error}") from error
    if not callable(factory):
        raise UserError(
            f"env.suite={spec!r} is a {type(factory).__name__}, no class or function that makes an "
            "environment"
        )
    made = _call(spec, factory)
    if hasattr(made, "make_env"):
        return cast(Suite, made)
    return CustomSuite(spec, cast(Callable[[], UserEnv], factory))


def _call(spec: str, factory: Callable[[], UserEnv]) -> UserEnv:
    try:
        return factory()
    except TypeError as error:
        raise UserError(
            f"env.suite={spec!r} cannot be called without arguments ({error}); name a function "
            "that fills them in"
        ) from error


def make_custom(config: EnvConfig, progress: Progress | None = None) -> Suite:
    """Make the custom suite, the user's own, that `env.suite` names. Raises UserError."""
    return load_suite(config.suite)


def diagnose_custom(config: EnvConfig, levels: Sequence[str]) -> list[Finding]:
    """Find whether a custom environment, the user's own, can be made and has the asked tasks.

    Args:
        levels: splits and levels that must have a task.
    """
    name, spec = "environment", config.suite
    remedy = f"declutch envs check {spec} looks at it closely"
    try:
        suite = load_suite(spec)
        counts = count_games(suite)
        for level in levels:
            suite.tasks(level)
    except UserError as error:
        return [problem_of(name, error, remedy)]
    finding = Finding(name, Status.OK, f"{spec}\n{format_counts(counts)}", remedy)
    return [finding, *own_findings(suite)]


CUSTOM = SuiteSpec(make_custom, diagnose_custom, {})

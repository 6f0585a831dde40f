"""Task sets of verifiers, played here as the suite that `env.verifiers.id` names.

What verifiers would send to its model is the observation, and the agent's answer is what the model
says. Whatever needs more than texts is refused: tools, code, images, and several agents.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from declutch.config.env import EnvConfig, VerifiersConfig
from declutch.envs.diagnosis import diagnose_adapter
from declutch.envs.protocol import Observation, Progress, SuiteSpec, Transition
from declutch.envs.splits import Level, find_level
from declutch.envs.wording import PLAIN
from declutch.ground.errors import Finding, UserError
from declutch.ground.extras import install_command
from declutch.records import TaskId

if TYPE_CHECKING:
    from declutch.envs.adapters.verifiers_host import Host, Played

SUITE = "verifiers"
LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        "train": Level("train", None, "tasks to train on"),
        "rl-train": Level("train", None, "tasks to train on"),
        "L0": Level("seen", None, "other tasks of the trained task set"),
        "L1": Level("unseen", None, "tasks of env.verifiers.unseen_options"),
        "L2": Level("held-out", None, "tasks of env.verifiers.held_out_options"),
        "L0-train": Level("train", None, "tasks trained on"),
    }
)


class VerifiersSuite:
    """The suite of a task set of verifiers, by its own names, rewards and order."""

    name = SUITE
    wording = PLAIN

    def __init__(self, config: VerifiersConfig) -> None:
        """
        Raises:
            UserError: no package verifiers, no task set of that name, or one that cannot be played.
        """
        if importlib.util.find_spec("verifiers") is None:
            raise UserError(
                f"env.suite=verifiers needs the package verifiers: {install_command('verifiers')}"
            )
        if not config.id:
            raise UserError(
                "env.verifiers.id is empty: name the task set as vf-eval does, e.g. "
                "env.verifiers.id=gsm8k"
            )
        self._config = config
        options = config.options or {}
        self._options: dict[str, dict[str, Any] | None] = {
            "train": options,
            "seen": options if config.seen_options is None else config.seen_options,
            "unseen": config.unseen_options,
            "held-out": config.held_out_options,
        }
        self._hosts: dict[str, Host] = {}
        self.held_out_kinds = () if config.held_out_options is None else (_held_out(config),)
        self._host("train")

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """List the tasks of a split or level. Raises UserError where there are none."""
        raw = find_level(LEVELS, split, SUITE).split
        if self._options[raw] is None:
            raise UserError(
                f"verifiers has no {split}: set env.verifiers.{raw.replace('-', '_')}_options, or "
                "leave it out of eval.levels"
            )
        tasks, config = self._host(raw).tasks, self._config
        # Without tasks of its own L0 plays the first ones, which training leaves out.
        kept = config.evaluated if config.seen_options is None else 0
        start, count = (kept, config.train) if raw == "train" else (0, config.evaluated)
        kind = _held_out(config) if raw == "held-out" else config.id
        names = [_name(task, n) for n, task in enumerate(tasks)]
        listed = range(start, min(start + count, len(tasks)))
        if not listed:
            raise UserError(
                f"{config.id} has {len(tasks)} tasks, and none is left for {split}: lower "
                "env.verifiers.evaluated, or set env.verifiers.seen_options"
            )
        return tuple(TaskId(SUITE, raw, n, names[n], kind) for n in listed)

    def make_env(self) -> VerifiersEnv:
        """Make an environment that can play any of the tasks."""
        return VerifiersEnv(self._host, self._config.success)

    def count_games(self) -> Mapping[str, Mapping[str, int]]:
        """Count the tasks by level; those of levels that are left out are 0."""
        levels = {"train": "train", "L0": "seen", "L1": "unseen", "L2": "held-out"}
        return {
            level: Counter(task.kind for task in self.tasks(level))
            if self._options[split] is not None
            else {}
            for level, split in levels.items()
        }

    def _host(self, split: str) -> Host:
        """What plays the tasks of a split; made on first use."""
        from declutch.envs.adapters.verifiers_host import Host

        if split == "seen" and self._config.seen_options is None:
            split = "train"
        if split not in self._hosts:
            config = self._config
            limit = config.evaluated + (config.train if split == "train" else 0)
            options = self._options[split] or {}
            self._hosts[split] = Host(config.id, config.environment, options, limit)
        return self._hosts[split]


class VerifiersEnv:
    """The environment that plays a task of verifiers, behind the protocol used here."""

    def __init__(self, host: Any, success: str) -> None:
        """
        Args:
            host: split -> what plays its tasks.
            success: the reward or metric that says whether a task is won; "" for the only one.
        """
        self._host = host
        self._success = success
        self._played: Played | None = None

    def reset(self, task: TaskId) -> Observation:
        """Start a task: verifiers runs its episode, up to its first question to the model."""
        self.close()
        self._played = self._host(task.split).play(task.index)
        asked = self._played.wait()
        if asked is None:
            raise UserError(f"{task.name!r} asked the model for nothing: {self._played.describe()}")
        return Observation(asked, ())

    def step(self, action: str) -> Transition:
        """Give the model's answer, and wait for the next question or the end."""
        played = self._played
        if played is None:
            raise RuntimeError("step before reset")
        asked = played.answer(action)
        if asked is not None:
            return Transition(Observation(asked, ()), 0.0, False, False, 0.0)
        self._played = None
        rewards, metrics = played.result()
        known = {**metrics, **rewards}
        name = self._success or (next(iter(rewards)) if len(rewards) == 1 else "")
        if name not in known:
            raise UserError(
                f"nobody knows whether the task is won: env.verifiers.success={self._success!r}, "
                f"and its rewards and metrics are {', '.join(known) or 'none'}; name one of them"
            )
        is_won, score = known[name] >= 1.0, min(max(known[name], 0.0), 1.0)
        return Transition(Observation("", ()), played.reward, is_won, True, score)

    def close(self) -> None:
        """Give up the episode that is being played, if any."""
        if self._played is not None:
            self._played.cancel()
            self._played = None


def _name(task: Any, number: int) -> str:
    """A name that no other task has: its own ones may be absent or equal."""
    own = task.data.name or task.data.id
    return f"{number} {own}" if own else f"{number} {task.key[:16]}"


def _held_out(config: VerifiersConfig) -> str:
    return f"{config.id} held out"


def make_verifiers(config: EnvConfig, progress: Progress | None = None) -> VerifiersSuite:
    """For verifiers' spec, make the suite that the settings name. Raises UserError."""
    return VerifiersSuite(config.verifiers)


def diagnose_verifiers(config: EnvConfig, levels: Sequence[str]) -> list[Finding]:
    """For verifiers' spec, find whether the package and the task set are there."""
    return diagnose_adapter(
        "verifiers", config.verifiers.id, lambda: make_verifiers(config), levels
    )


VERIFIERS = SuiteSpec(make_verifiers, diagnose_verifiers, LEVELS, PLAIN)

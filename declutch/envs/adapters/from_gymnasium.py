"""Text environments of Gymnasium, played here as the suite that `env.gymnasium.id` names.

A task is a seed given to `reset`. An observation is a text, or a dictionary with one under "text"
or "observation". An action is a text; where actions are numbered, a command's number is its place
among the admissible ones.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from declutch.config.env import EnvConfig, GymnasiumConfig
from declutch.envs.diagnosis import diagnose_adapter
from declutch.envs.protocol import Observation, Progress, SuiteSpec, Transition
from declutch.envs.splits import Level, find_level
from declutch.envs.wording import NOTHING_HAPPENS, PLAIN
from declutch.ground.errors import Finding, UserError
from declutch.ground.extras import install_command
from declutch.records import TaskId

SUITE = "gymnasium"
LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        "train": Level("train", None, "seeds to train on"),
        "rl-train": Level("train", None, "seeds to train on"),
        "L0": Level("seen", None, "other seeds of the trained environment"),
        "L1": Level("unseen", None, "seeds of env.gymnasium.unseen_id"),
        "L2": Level("held-out", None, "seeds of env.gymnasium.held_out_id"),
        "L0-train": Level("train", None, "seeds trained on"),
    }
)
EVALUATED_FROM = 1_000_000_000
"""The first seed of L0, L1 and L2, far from those trained on."""
_TEXT_KEYS = ("text", "observation")


class GymnasiumSuite:
    """The suite of a text environment that Gymnasium makes: its seeds are the tasks."""

    name = SUITE
    wording = PLAIN

    def __init__(self, config: GymnasiumConfig) -> None:
        """
        Raises:
            UserError: no package gymnasium, or no environment of that name.
        """
        if importlib.util.find_spec("gymnasium") is None:
            raise UserError(
                f"env.suite=gymnasium needs the package gymnasium: {install_command('gymnasium')}"
            )
        if not config.id:
            raise UserError(
                "env.gymnasium.id is empty: name the environment as gymnasium.make does, e.g. "
                "env.gymnasium.id=MyText-v0"
            )
        self._config = config
        self._ids = {
            "train": config.id,
            "seen": config.seen_id or config.id,
            "unseen": config.unseen_id,
            "held-out": config.held_out_id,
        }
        self.held_out_kinds = (_kind_of(config.held_out_id),) if config.held_out_id else ()
        GymnasiumEnv(self._ids, config).open(config.id).close()

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """List the seeds of a split or level. Raises UserError where there are none."""
        level = find_level(LEVELS, split, SUITE)
        name = self._ids[level.split]
        if not name:
            raise UserError(
                f"gymnasium has no {split}: set "
                f"env.gymnasium.{level.split.replace('-', '_')}_id, or leave it out of eval.levels"
            )
        count = self._config.train if level.split == "train" else self._config.evaluated
        kind = self._kind(level.split)
        return tuple(
            TaskId(SUITE, level.split, n, f"{name} seed {_seed(level.split, n)}", kind)
            for n in range(count)
        )

    def make_env(self) -> GymnasiumEnv:
        """Make an environment that can play any of the seeds."""
        return GymnasiumEnv(self._ids, self._config)

    def count_games(self) -> Mapping[str, Mapping[str, int]]:
        """Count the seeds by level; those of levels that are left out are 0."""
        config = self._config
        sizes = {"train": config.train, "L0": config.evaluated}
        sizes["L1"] = config.evaluated if config.unseen_id else 0
        sizes["L2"] = config.evaluated if config.held_out_id else 0
        return {
            name: Counter({self._kind(LEVELS[name].split): size}) if size else {}
            for name, size in sizes.items()
        }

    def _kind(self, split: str) -> str:
        """The kind of a split's tasks, which is the trained one in new surroundings, too."""
        return _kind_of(self._config.held_out_id if split == "held-out" else self._config.id)


class GymnasiumEnv:
    """The environment that plays one that Gymnasium makes, behind the protocol used here."""

    def __init__(self, ids: Mapping[str, str], config: GymnasiumConfig) -> None:
        """
        Args:
            ids: what gymnasium.make is given, by split.
        """
        self._ids = ids
        self._config = config
        self._made: tuple[str, Any] | None = None
        self._last = Observation("", ())

    def open(self, name: str) -> Any:
        """Make Gymnasium's environment of a name, or take the one that is made already.

        Raises:
            UserError: there is none, or its actions cannot be carried.
        """
        import gymnasium
        from gymnasium.spaces import Discrete, Text

        if self._made is not None and self._made[0] == name:
            return self._made[1]
        self.close()
        try:
            env = gymnasium.make(name, disable_env_checker=True, **(self._config.options or {}))
        # It is someone else's: whatever it raises is a setting that is no good.
        except Exception as error:
            raise UserError(
                f"gymnasium.make({name!r}) raises {type(error).__name__}: {error}; correct "
                "env.gymnasium.id and env.gymnasium.options, and write the id as "
                "my_module:MyText-v0 where a module has to be imported first"
            ) from error
        if not isinstance(env.action_space, Text | Discrete):
            env.close()
            raise UserError(
                f"{name} takes actions of {env.action_space}, which cannot be written as a text: "
                "only a space of texts, or a numbered one whose commands are listed, can be played"
            )
        self._made = (name, env)
        return env

    def reset(self, task: TaskId) -> Observation:
        """Start the seed that a task stands for."""
        env = self.open(self._ids[task.split])
        shown, info = env.reset(seed=_seed(task.split, task.index))
        self._last = self._observe(shown, info)
        return self._last

    def step(self, action: str) -> Transition:
        """Play an action; one that has no number is answered without the environment."""
        if self._made is None:
            raise RuntimeError("step before reset")
        name, env = self._made
        played: Any = action
        if hasattr(env.action_space, "n"):
            text = action.strip()
            if text not in self._last.admissible:
                unchanged = self._last
                refused = Observation(NOTHING_HAPPENS, unchanged.admissible, unchanged.inventory)
                return Transition(refused, 0.0, False, False, 0.0)
            played = int(env.action_space.start) + self._last.admissible.index(text)
        shown, reward, is_terminated, is_truncated, info = env.step(played)
        self._last = self._observe(shown, info)
        is_done, key = bool(is_terminated or is_truncated), self._config.success
        if is_done and key not in info:
            raise UserError(
                f"{name} ended an episode without {key!r} in its info, so that nobody knows "
                "whether it was won; set env.gymnasium.success to the key that says so"
            )
        is_won = bool(info.get(key, False))
        score = float(info.get("score", is_won))
        return Transition(self._last, float(reward), is_won, is_done or is_won, score)

    def close(self) -> None:
        """Close Gymnasium's environment."""
        if self._made is not None:
            self._made[1].close()
            self._made = None

    def _observe(self, shown: Any, info: Mapping[str, Any]) -> Observation:
        text = shown
        if isinstance(shown, Mapping):
            text = next((shown[key] for key in _TEXT_KEYS if key in shown), None)
        if not isinstance(text, str):
            raise UserError(
                f"an observation of {self._made[0] if self._made else SUITE} is a "
                f"{type(shown).__name__} and no text: only a text, or a dictionary with one under "
                f"{' or '.join(map(repr, _TEXT_KEYS))}, can be shown to a language model"
            )
        commands = tuple(map(str, info.get(self._config.admissible, ())))
        return Observation(text, commands, str(info.get("inventory", "")))


def _seed(split: str, number: int) -> int:
    return number if split == "train" else EVALUATED_FROM + number


def _kind_of(name: str) -> str:
    """The kind of task: the id without its module and its version, such as "MyText"."""
    return name.rpartition(":")[2].rpartition("-v")[0] or name


def make_gymnasium(config: EnvConfig, progress: Progress | None = None) -> GymnasiumSuite:
    """For Gymnasium's spec, make the suite that the settings name. Raises UserError."""
    return GymnasiumSuite(config.gymnasium)


def diagnose_gymnasium(config: EnvConfig, levels: Sequence[str]) -> list[Finding]:
    """For Gymnasium's spec, find whether the package and the environment are there."""
    return diagnose_adapter(
        "gymnasium", config.gymnasium.id, lambda: make_gymnasium(config), levels
    )


GYMNASIUM = SuiteSpec(make_gymnasium, diagnose_gymnasium, LEVELS, PLAIN)

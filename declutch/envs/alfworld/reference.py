"""The official engine (TextWorld and Fast Downward) behind the same protocol, for comparison.

Some 5,000 times slower than `AlfworldEnv`; needs the extra `textworld`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from declutch.envs.protocol import Observation, Transition
from declutch.ground.errors import UserError
from declutch.ground.extras import install_command
from declutch.records import TaskId

# The official engine ends an episode after so many steps; here the caller decides when to stop.
_NO_LIMIT = 1_000_000
_CARRYING = "You are carrying: a "


class ReferenceEnv:
    """The reference for our ALFWorld engine: the official one behind our protocol; one a process.

    Every reset loads another copy of the planner's library, which cannot be unloaded (it leaves
    handlers behind that run when the process ends): about 5 MB a game until then.
    """

    def __init__(self, find_path: Callable[[TaskId], Path]) -> None:
        """
        Args:
            find_path: gives a task's game file.
        Raises:
            UserError: TextWorld or ALFWorld is not installed.
        """
        self._find_path = find_path
        self._wrappers = _import_wrappers()
        self._env: Any = None
        self._inventory = ""

    def reset(self, task: TaskId) -> Observation:
        """Start a task's game in the official engine."""
        return self.reset_file(self._find_path(task))

    def reset_file(self, path: Path) -> Observation:
        """Start the game in `path`; raises UserError if there is none."""
        if not path.is_file():
            raise UserError(f"no game file {path}")
        self.close()
        with _silenced():
            # A registered environment moves to its next game at every reset, so each has one.
            self._env = _make_env(path, self._wrappers)
            texts, infos = self._env.reset()
        self._inventory = ""
        return Observation(texts[0], tuple(infos["admissible_commands"][0]), "")

    def step(self, action: str) -> Transition:
        """Play one action in the official engine. Raises RuntimeError before the first reset."""
        if self._env is None:
            raise RuntimeError("reset the environment before stepping it")
        texts, scores, dones, infos = self._env.step([action])
        text, won = texts[0], bool(infos["won"][0])
        self._inventory = _follow_inventory(self._inventory, text)
        observation = Observation(text, tuple(infos["admissible_commands"][0]), self._inventory)
        score = float(scores[0])
        return Transition(observation, score, won, bool(dones[0]), score)

    def close(self) -> None:
        """Let go of the game; the environment can be reset again."""
        if self._env is not None:
            self._env.close()
            self._env = None


def _import_wrappers() -> tuple[Any, Any]:
    try:
        import textworld.gym  # noqa: F401
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
    except ImportError as error:
        raise UserError(
            f"the reference engine needs TextWorld and ALFWorld ({error}); "
            f"install them with: {install_command('textworld')}"
        ) from error
    return AlfredDemangler, AlfredInfos


def _make_env(path: Path, wrappers: tuple[Any, Any]) -> Any:
    import textworld
    import textworld.gym
    import textworld.gym.utils

    demangler, infos = wrappers
    name = textworld.gym.register_games(
        [str(path)],
        textworld.EnvInfos(won=True, admissible_commands=True, extras=["gamefile"]),
        batch_size=1,
        asynchronous=False,
        max_episode_steps=_NO_LIMIT,
        wrappers=[lambda env: demangler(env, shuffle=False), infos],
    )
    try:
        return textworld.gym.make(name)
    finally:
        # The registry is global and would keep every game ever played.
        textworld.gym.utils.registry.pop(name, None)


def _follow_inventory(carried: str, text: str) -> str:
    """What is carried after the engine answered `text`; it says so only when that changes."""
    if text.startswith("You pick up the "):
        return text.removeprefix("You pick up the ").partition(" from the ")[0]
    if text.startswith("You move the "):
        return ""
    if text.startswith(_CARRYING):
        return text.removeprefix(_CARRYING).removesuffix(".")
    return carried


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Send what the planner's library writes to the terminal to nowhere."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)

"""The package's own client beside ours, for comparison: the same actions, answer by answer."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from declutch.envs.scienceworld.simulator import SIMPLIFICATION, Launch, Reply, Simulator

# The package ends an episode after so many steps; here the caller decides when to stop.
_NO_LIMIT = 1_000_000
# Focusing on the wrong thing ends a task at once, and starting over makes a walk go nowhere.
_NOT_WALKED = ("focus on ", "reset task")


@dataclass(frozen=True)
class Answer:
    """Everything that ours or the reference client of ScienceWorld says after an action."""

    reply: Reply
    look: str
    inventory: str
    valid: tuple[str, ...]


class PackageClient:
    """The reference for our ScienceWorld client: the package's own. Not thread-safe."""

    def __init__(self, launch: Launch, *options: str) -> None:
        """
        Args:
            launch: whose Java is used; heap and timeout are the package's own.
            options: of the JVM, () for the package's default.
        """
        from scienceworld import ScienceWorldEnv

        with _environment(launch, options):
            self._env: Any = ScienceWorldEnv("", envStepLimit=_NO_LIMIT)

    @property
    def pid(self) -> int:
        """Process id of the JVM."""
        return int(self._env._gateway.java_process.pid)

    def start(self, task: str, variation: int, with_gold: bool = False) -> str:
        """Load a variation and reset it; the first observation."""
        self._env.load(task, variation, SIMPLIFICATION, generateGoldPath=with_gold)
        return str(self._env.reset()[0])

    def gold_path(self) -> list[str]:
        """The gold path of what was started `with_gold`."""
        return list(self._env.get_gold_action_sequence())

    def step(self, action: str) -> Answer:
        """Play one action."""
        text, _, is_done, infos = self._env.step(action)
        reply = Reply(text, infos["score"], is_done)
        return Answer(reply, infos["look"], infos["inv"], tuple(infos["valid"]))

    def close(self) -> None:
        """End the JVM."""
        process = self._env._gateway.java_process
        self._env.close()
        process.wait()


def walk(client: PackageClient, num_steps: int, rng: random.Random) -> list[tuple[str, Answer]]:
    """Play random valid actions on ScienceWorld's reference client, and note its answers."""
    taken = [("look around", client.step("look around"))]
    while len(taken) < num_steps and not taken[-1][1].reply.is_done:
        valid = [each for each in taken[-1][1].valid if not each.startswith(_NOT_WALKED)]
        action = rng.choice(valid)
        taken.append((action, client.step(action)))
    return taken


def replay(simulator: Simulator, actions: Sequence[str], ask_all: bool) -> list[Answer]:
    """Play the reference client's actions on our ScienceWorld client, and note its answers.

    Args:
        ask_all: ask for valid actions too, as the package does; else they are ().
    """
    answers = []
    for action in actions:
        reply = simulator.step(action)
        look, inventory = simulator.look(), simulator.inventory()
        valid = simulator.valid_actions() if ask_all else ()
        answers.append(Answer(reply, look, inventory, valid))
    return answers


@contextmanager
def _environment(launch: Launch, options: Sequence[str]) -> Iterator[None]:
    """What the package's launcher takes from its surroundings: which Java, and its options."""
    changes = {
        "PATH": os.pathsep.join((str(launch.java.parent), os.environ.get("PATH", ""))),
        "JAVA_TOOL_OPTIONS": " ".join(options),
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

"""Chance in an expert's place: the policy "random", and plays that only words are taken from."""

from __future__ import annotations

import random
from dataclasses import dataclass

from declutch.envs.protocol import Observation, draw_command
from declutch.ground.errors import UserError
from declutch.records import TaskId


@dataclass(frozen=True)
class Whim:
    """A wanderer's command: chosen at random, without a reason."""

    action: str
    thought: str = ""
    short_thought: str = ""


class Wanderer:
    """A wanderer in an expert's place: plays random admissible commands, drawn from its seed."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)
        self._admissible: tuple[str, ...] = ()

    def reset(self, task: TaskId, observation: Observation) -> None:
        """Take note of the commands to choose among."""
        self._admissible = observation.admissible

    def act(self) -> Whim:
        """Choose a command. Raises UserError where there is nothing to choose among."""
        command = draw_command(self._admissible, self._random)
        if command is None:
            raise UserError(
                "random play chooses among admissible commands, but here there are none: the "
                "environment's answers are free, or it has come to a state without a way on"
            )
        return Whim(command)

    def update(self, action: str, observation: Observation) -> None:
        """Take note of the commands to choose among now."""
        self._admissible = observation.admissible

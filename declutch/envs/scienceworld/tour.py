"""A walk through the rooms, for their words: faster than asking an expert for its plans."""

from __future__ import annotations

import random

from declutch.envs.protocol import Observation
from declutch.envs.wanderer import Whim
from declutch.records import TaskId

_LOOK = "look around"
_TELEPORT = "teleport to "


class Tourist:
    """A guide on a tour of ScienceWorld's rooms, who looks around in each, for their words."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._visited: set[str] = set()
        self._rooms: tuple[str, ...] = ()
        self._has_looked = True

    def reset(self, task: TaskId, observation: Observation) -> None:
        """Start with the first observation, which is a look around."""
        self._visited, self._has_looked = set(), True
        self._note(observation)

    def act(self) -> Whim | None:
        """What to do now, None where all rooms were visited; asking changes nothing."""
        if not self._has_looked:
            return Whim(_LOOK)
        return Whim(self._rooms[0]) if self._rooms else None

    def update(self, action: str, observation: Observation) -> None:
        """Learn which action was played, whoever chose it."""
        self._visited.add(action)
        self._has_looked = not action.startswith(_TELEPORT)
        self._note(observation)

    def _note(self, observation: Observation) -> None:
        rooms = [each for each in observation.admissible if each.startswith(_TELEPORT)]
        unseen = [room for room in rooms if room not in self._visited]
        self._rooms = tuple(self._random.sample(unseen, len(unseen)))

"""One live ALFWorld household behind the `TextEnv` protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from declutch.envs.alfworld.dynamics import (
    admissible_commands,
    apply_command,
    is_won,
    parse_command,
)
from declutch.envs.alfworld.text import (
    NOTHING_HAPPENS,
    describe_intro,
    describe_outcome,
    name_carried,
)
from declutch.envs.alfworld.world import State, World
from declutch.envs.protocol import Observation, Transition
from declutch.records import TaskId

if TYPE_CHECKING:
    from declutch.envs.alfworld.oracle import OracleTracker


class AlfworldEnv:
    """The live environment of an ALFWorld game, just like the official; a won one stays as it is.

    An `Oracle` too: `label_action` judges an action from the true state.
    """

    def __init__(self, find_world: Callable[[TaskId], World]) -> None:
        """
        Args:
            find_world: gives a task's compiled game, shared by all environments.
        """
        self._find_world = find_world
        self._world: World | None = None
        self._state: State | None = None
        self._last: Transition | None = None
        self._observation: Observation | None = None
        self._oracle: OracleTracker | None = None
        self._unseen_by_oracle: list[State] = []

    @property
    def world(self) -> World:
        """The game being played. Raises RuntimeError before the first `reset`."""
        if self._world is None:
            raise RuntimeError("reset the environment before asking for its world")
        return self._world

    @property
    def walkthrough(self) -> tuple[str, ...]:
        """The solution stored with the game, () where there is none."""
        return self.world.walkthrough

    @property
    def state(self) -> State:
        """The true state now. Raises RuntimeError before the first `reset`."""
        if self._state is None:
            raise RuntimeError("reset the environment before asking for its state")
        return self._state

    def reset(self, task: TaskId) -> Observation:
        """Start `task`; raises UserError where its game cannot be read."""
        world = self._find_world(task)
        self._world, self._state, self._last, self._oracle = world, world.start, None, None
        self._unseen_by_oracle = [world.start]
        self._observation = _observe(world, world.start, describe_intro(world))
        return self._observation

    def step(self, action: str) -> Transition:
        """Play `action`; whatever is not admissible now is answered "Nothing happens."."""
        world, state = self.world, self.state
        if self._last is not None and self._last.is_done:
            return Transition(self._last.observation, 0.0, True, True, 1.0)
        assert self._observation is not None
        text = action.strip()
        command = parse_command(world, text) if text in self._observation.admissible else None
        if command is None:
            observation = Observation(
                NOTHING_HAPPENS, self._observation.admissible, self._observation.inventory
            )
        else:
            state = apply_command(world, state, command)
            observation = _observe(world, state, describe_outcome(world, state, command))
        won = is_won(world, state)
        score = 1.0 if won else 0.0
        self._state, self._observation = state, observation
        self._unseen_by_oracle.append(state)
        self._last = Transition(observation, score, won, won, score)
        return self._last

    def label_action(self, action: str) -> int | None:
        """1 good, 0 bad, None undecided, judged in the state before `action` is played."""
        if self._oracle is None:
            # Imported here because only a run that asks for labels needs the oracle, which then
            # catches up with the states seen so far.
            from declutch.envs.alfworld.oracle import OracleTracker

            self._oracle = OracleTracker(self.world)
        for state in self._unseen_by_oracle:
            self._oracle.observe(state)
        self._unseen_by_oracle.clear()
        assert self._observation is not None
        return self._oracle.label(self.state, action, self._observation.admissible)

    def close(self) -> None:
        """Drop the game; the environment can be reset again."""
        self._world = self._state = self._last = self._observation = self._oracle = None
        self._unseen_by_oracle = []


def _observe(world: World, state: State, text: str) -> Observation:
    return Observation(text, admissible_commands(world, state), name_carried(world, state))

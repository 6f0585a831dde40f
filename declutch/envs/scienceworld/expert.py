"""What solves a task from any state: the gold path, or what is left of it, checked by replay.

The path is searched from the true state, which the agent does not see, so that this expert knows
where things are; its reasons are worded from its actions alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from declutch.envs.protocol import Observation
from declutch.envs.scienceworld.gold import (
    JOURNEYS,
    TELEPORT,
    WALK,
    GoldCache,
    GoldPath,
    search_gold,
    wins,
)
from declutch.envs.scienceworld.pool import SimulatorPool
from declutch.envs.scienceworld.simulator import Launch, SimulatorError
from declutch.envs.scienceworld.thoughts import long_thought, purpose_of, short_thought
from declutch.records import TaskId

# To search a path is to play it, with all that this asks about the surroundings; some searches
# need more memory than any episode.
_SEARCH_TIMEOUT_SECONDS = 600.0
_SEARCH_HEAP_MIB = 512
_NUM_REPLAYS = 65536
# What only looks changes nothing but the time.
_LOOKS = ("look ", "inventory", "task", "read ")


class Planner:
    """The planner of ScienceWorld's expert: by replay on a simulator started at first need."""

    def __init__(self, launch: Launch, cache_dir: Path | None = None) -> None:
        """
        Args:
            launch: how the simulator is started.
            cache_dir: folder of gold paths on disk; None for none.
        """
        heap_mib = max(launch.heap_mib, _SEARCH_HEAP_MIB)
        launch = replace(launch, heap_mib=heap_mib, timeout_seconds=_SEARCH_TIMEOUT_SECONDS)
        self._pool = SimulatorPool(launch, 1)
        self._cache = GoldCache(cache_dir)
        self._gold: dict[str, GoldPath] = {}
        self._replays: OrderedDict[tuple[str, Sequence[str], Sequence[str]], bool] = OrderedDict()

    def gold(self, task: TaskId) -> GoldPath:
        """Find the gold path of a task: remembered, stored, or searched for.

        Raises:
            UserError: no memory for a simulator, or no space for the path.
        """
        if task.name not in self._gold:
            self._gold[task.name] = self._cache.read(task) or self._search(task)
        return self._gold[task.name]

    def plan(self, task: TaskId, played: Sequence[str]) -> tuple[str, ...] | None:
        """Find actions that win after `played`; None where none were found, and ever after.

        After an action that is not the plan's, the plan is tried as it is, then from the last
        journey before (the agent may have gone elsewhere), then from its beginning.

        Raises:
            SimulatorError: the simulator failed in a replay.
        """
        gold = self.gold(task)
        plan = gold.actions if gold.is_solved else None
        for count, action in enumerate(played, start=1):
            if plan is None:
                return None
            if plan[:1] == (action,):
                plan = plan[1:]
            elif not action.startswith(_LOOKS):
                past = tuple(played[:count])
                plans = _restarts(gold.actions, plan)
                plan = next((rest for rest in plans if self._wins(task, past, rest)), None)
        return plan

    def label_action(self, task: TaskId, played: Sequence[str], action: str) -> int | None:
        """Label a valid action by whether it shortens the plan: 1 good, 0 bad, None undecided.

        Bad is what the plan does not win after as it is; where no plan is known, nothing is said.

        Raises:
            SimulatorError: the simulator failed in a replay.
        """
        plan = self.plan(task, played)
        if plan is None:
            return None
        if plan[:1] == (action,):
            return 1
        if action.startswith(_LOOKS) or self._wins(task, (*played, action), plan):
            return None
        return 0

    def close(self) -> None:
        """End the simulator; another is started when needed."""
        self._pool.close()

    def _search(self, task: TaskId) -> GoldPath:
        simulator = self._pool.acquire()
        try:
            gold = search_gold(simulator, task)
        except SimulatorError as error:
            return GoldPath((), 0, 0, str(error))
        finally:
            self._pool.release(simulator)
        self._cache.write(task, gold)
        return gold

    def _wins(self, task: TaskId, played: tuple[str, ...], rest: tuple[str, ...]) -> bool:
        key = (task.name, played, rest)
        if key not in self._replays:
            simulator = self._pool.acquire()
            try:
                self._replays[key] = wins(simulator, task, played, rest)
            finally:
                self._pool.release(simulator)
            if len(self._replays) > _NUM_REPLAYS:
                self._replays.popitem(last=False)
        return self._replays[key]


@dataclass(frozen=True)
class GoldAction:
    """The action that ScienceWorld's expert would play now, and why."""

    action: str
    thought: str
    short_thought: str


class GoldExpert:
    """ScienceWorld's expert, on the gold path; it plans anew where others acted in its place.

    It gives up where it knows no way to win, or none in valid actions.
    """

    def __init__(self, planner: Planner, seed: int = 0) -> None:
        """
        Args:
            seed: varies the wording of the thoughts.
        """
        self._planner, self._seed = planner, seed
        self._task: TaskId | None = None
        self._played: list[str] = []
        self._plan: tuple[str, ...] = ()

    def reset(self, task: TaskId, observation: Observation) -> None:
        """Raises UserError where no simulator can be had to plan with."""
        self._task, self._played = task, []
        self._follow(observation)

    def act(self) -> GoldAction | None:
        """What to do now, None where no way to win is known; asking changes nothing."""
        if not self._plan:
            return None
        number = self._seed + len(self._played)
        purpose = purpose_of(self._plan)
        return GoldAction(
            self._plan[0], long_thought(self._plan[0], purpose, number), short_thought(purpose)
        )

    def update(self, action: str, observation: Observation) -> None:
        """Learn which action was played, whoever chose it."""
        self._played.append(action)
        self._follow(observation)

    def _follow(self, observation: Observation) -> None:
        """Raises RuntimeError before the first `reset`, SimulatorError where a replay fails."""
        if self._task is None:
            raise RuntimeError("GoldExpert.reset(task, observation) must come first")
        plan = self._planner.plan(self._task, self._played) or ()
        # Elsewhere the same words may not be clear, so that they are not listed.
        self._plan = plan if plan and plan[0] in observation.admissible else ()


def _restarts(gold: tuple[str, ...], plan: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The plan, and more of the gold path that it is the end of; from anywhere, one teleports."""
    position = len(gold) - len(plan)
    yield plan
    journeys = [i for i in range(position) if gold[i].startswith(JOURNEYS)]
    for start in dict.fromkeys((*journeys[-1:], 0)):
        if start < position:
            place = gold[start].removeprefix(WALK)
            first = gold[start] if place == gold[start] else TELEPORT + place
            yield (first, *gold[start + 1 :])

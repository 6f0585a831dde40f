"""What solves a task: the simulator's gold path, and from other states what is left of it.

The gold path is searched from the true state, which the agent does not see. It is often longer than
an agent's 30 steps, and a few fail: `play_gold` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from declutch.envs.scienceworld.simulator import Launch, Reply, Simulator, SimulatorError
from declutch.envs.scienceworld.tasks import variation_of
from declutch.records import TaskId

FULL_SCORE = 100
# To search a path is to play it, with all that this asks about the surroundings.
_SEARCH_TIMEOUT_SECONDS = 600.0
_JOURNEYS = ("go ", "teleport ")


@dataclass(frozen=True)
class GoldPath:
    """The simulator's own solution of a task.

    Attributes:
        actions: from the start of an episode.
        score: in percent, that playing them ends with.
        error: what the simulator failed with instead, "" where it did not.
    """

    actions: tuple[str, ...]
    score: int
    error: str = ""

    @property
    def is_solved(self) -> bool:
        return self.score == FULL_SCORE


class Planner:
    """Plans by replay on a simulator of its own, which is started at the first question."""

    def __init__(self, launch: Launch) -> None:
        self._launch = replace(launch, timeout_seconds=_SEARCH_TIMEOUT_SECONDS)
        self._simulator: Simulator | None = None
        self._gold: dict[str, GoldPath] = {}

    def play_gold(self, task: TaskId) -> GoldPath:
        """Search the gold path and play it; remembered. A simulator's failure is in the result."""
        if task.name not in self._gold:
            try:
                self._load(task, with_gold=True)
                actions = self._live().gold_path()
                reply = self._play(task, actions)
                self._gold[task.name] = GoldPath(actions, reply.score)
            except SimulatorError as error:
                self._gold[task.name] = GoldPath((), 0, str(error))
        return self._gold[task.name]

    def plan(self, task: TaskId, played: Sequence[str]) -> tuple[str, ...] | None:
        """Actions that win after `played`, checked by replay; None where none were found.

        What is left of the gold path is tried from where the episode has come on it, then from the
        last journey before that (the agent may have gone elsewhere), then from its beginning.

        Raises:
            SimulatorError: the simulator failed in a replay.
        """
        gold = self.play_gold(task)
        if not gold.is_solved:
            return None
        if tuple(played) == gold.actions[: len(played)]:
            return gold.actions[len(played) :]
        for start in _restarts(gold.actions, played):
            rest = gold.actions[start:]
            reply = self._play(task, (*played, *rest))
            if reply.score == FULL_SCORE:
                return rest
        return None

    def label_action(self, task: TaskId, played: Sequence[str], action: str) -> int | None:
        """Whether `action` after `played` shortens the plan: 1 good, 0 bad, None undecided.

        Raises:
            SimulatorError: the simulator failed in a replay.
        """
        before = self.plan(task, played)
        if before is None:
            return None
        if before[:1] == (action,):
            return 1
        after = self.plan(task, (*played, action))
        if after is None or len(after) > len(before):
            return 0
        return 1 if len(after) < len(before) else None

    def close(self) -> None:
        """End the simulator; another is started when needed."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def _live(self) -> Simulator:
        if self._simulator is None or not self._simulator.is_alive:
            self._simulator = Simulator(self._launch)
        return self._simulator

    def _load(self, task: TaskId, with_gold: bool = False) -> None:
        self._live().load(task.kind, variation_of(task), with_gold)

    def _play(self, task: TaskId, actions: Sequence[str]) -> Reply:
        """The last reply when `actions` are played as an episode, which ends where it is done."""
        self._load(task)
        simulator = self._live()
        reply = simulator.step("look around")
        for action in actions:
            if reply.is_done:
                break
            reply = simulator.step(action)
        return reply


class GoldExpert:
    """Follows the gold path, and plans anew where others acted in its place."""

    def __init__(self, planner: Planner, task: TaskId) -> None:
        """
        Raises:
            SimulatorError: see `Planner.plan`.
        """
        self._planner, self._task = planner, task
        self._played: tuple[str, ...] = ()
        self._plan = planner.plan(task, ()) or ()

    def act(self) -> str:
        """What to do now; "look around" where no way to win was found."""
        return self._plan[0] if self._plan else "look around"

    def update(self, action: str) -> None:
        """Learn which action was played, whoever chose it."""
        is_planned = self._plan[:1] == (action,)
        self._played += (action,)
        rest = self._plan[1:] if is_planned else self._planner.plan(self._task, self._played)
        self._plan = rest or ()


def _restarts(gold: Sequence[str], played: Sequence[str]) -> tuple[int, ...]:
    """Positions of the gold path to go on from, the latest first."""
    reached = 0
    for action in played:
        if reached < len(gold) and action == gold[reached]:
            reached += 1
    journeys = [i for i in range(reached) if gold[i].startswith(_JOURNEYS)]
    return tuple(sorted({reached, journeys[-1] if journeys else 0, 0}, reverse=True))

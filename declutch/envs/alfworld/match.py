"""One episode of ALFWorld played on our engine and the official one, and what differed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from declutch.envs.alfworld.curiosity import choose_curiously, make_nonsense
from declutch.envs.alfworld.dynamics import apply_command, is_won, parse_command
from declutch.envs.alfworld.env import AlfworldEnv
from declutch.envs.alfworld.expert import Expert
from declutch.envs.alfworld.reference import ReferenceEnv
from declutch.envs.alfworld.world import World
from declutch.envs.protocol import Observation, Transition
from declutch.records import TaskId

NONSENSE_SHARE = 0.15
PERTURBED_SHARE = 0.35
# Steps an expert's walk may take beyond the asked number to bring its game to an end.
NUM_FINISHING_STEPS = 20


@dataclass(frozen=True)
class Difference:
    """The first difference in a match between our ALFWorld engine and the official one.

    Attributes:
        game: the game file.
        walk: what was being played: "random", "expert" or "walkthrough".
        step: number of actions played before; -1 for the reset.
        action: the action answered differently.
        what: the field that differs.
        ours, reference: its two values.
        history: every action since the reset, `action` last.
    """

    game: Path
    walk: str
    step: int
    action: str
    what: str
    ours: str
    reference: str
    history: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerifyReport:
    """Report of a match: what our ALFWorld engine and the official one played side by side.

    Attributes:
        num_games, num_steps, num_nonsense, num_won: games, actions, of these not admissible ones,
            and episodes won.
        walks: number of episodes by kind of walk.
        executed: successful executions by verb.
        games: number of games by "split/task type".
        difference: the first difference, None when there is none.
    """

    num_games: int = 0
    num_steps: int = 0
    num_nonsense: int = 0
    num_won: int = 0
    walks: Mapping[str, int] = field(default_factory=dict)
    executed: Mapping[str, int] = field(default_factory=dict)
    games: Mapping[str, int] = field(default_factory=dict)
    difference: Difference | None = None

    def merge(self, other: VerifyReport) -> VerifyReport:
        """Add up two reports of the comparison; the first difference wins."""
        return VerifyReport(
            self.num_games + other.num_games,
            self.num_steps + other.num_steps,
            self.num_nonsense + other.num_nonsense,
            self.num_won + other.num_won,
            Counter(self.walks) + Counter(other.walks),
            Counter(self.executed) + Counter(other.executed),
            Counter(self.games) + Counter(other.games),
            self.difference or other.difference,
        )


@dataclass(frozen=True)
class Job:
    """The job to match both ALFWorld engines on one game: which walks, and how long."""

    path: Path
    seed: int
    num_steps: int
    is_expert: bool
    has_walkthrough: bool


class _Mismatch(Exception):
    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.what)
        self.difference = difference


class Match:
    """A match between both ALFWorld engines: one episode of a game, answer compared with answer."""

    def __init__(self, path: Path, world: World, reference: ReferenceEnv) -> None:
        self._path = path
        self._task = TaskId("", "", 0, path.parent.name)
        self._world = world
        self._ours = AlfworldEnv(lambda _: world)
        self._reference = reference
        self._history: list[str] = []
        self._executed: Counter[str] = Counter()
        self._num_nonsense = 0
        self._is_won = False
        self._walk = ""

    def play(self, walk: str, job: Job, rng: random.Random) -> VerifyReport:
        """Play a walk of one kind on both engines up to the first difference."""
        self._walk = walk
        difference = None
        try:
            first = self._reset()
            if walk == "walkthrough":
                self._follow_walkthrough()
            else:
                self._wander(first, job, rng)
            if self._is_won:
                # A finished game answers everything as it answered the last action.
                self._step("look")
                self._step("nonsense")
        except _Mismatch as mismatch:
            difference = mismatch.difference
        return VerifyReport(
            num_steps=len(self._history),
            num_nonsense=self._num_nonsense,
            num_won=int(self._is_won),
            walks={walk: 1},
            executed=self._executed,
            difference=difference,
        )

    def _reset(self) -> Observation:
        ours = self._ours.reset(self._task)
        theirs = self._reference.reset(self._task)
        self._compare(ours, theirs, "")
        return ours

    def _follow_walkthrough(self) -> None:
        for action in self._world.walkthrough:
            self._step(action)
        if not self._is_won:
            raise self._mismatch("walkthrough", "not won at its end", "a stored solution")

    def _wander(self, first: Observation, job: Job, rng: random.Random) -> None:
        observation = first
        expert = Expert(job.seed) if job.is_expert else None
        if expert is not None:
            expert.reset(self._task, first)
        limit = job.num_steps + (NUM_FINISHING_STEPS if job.is_expert else 0)
        while len(self._history) < limit and not self._is_won:
            may_win = len(self._history) >= job.num_steps
            action = self._choose(observation, expert, may_win, rng)
            observation = self._step(action).observation
            if expert is not None:
                expert.update(action, observation)

    def _choose(
        self, observation: Observation, expert: Expert | None, may_win: bool, rng: random.Random
    ) -> str:
        """Nonsense, the expert's action or a curious one; no winning one unless it may win."""
        perturbed = expert is None or rng.random() < PERTURBED_SHARE
        if not may_win and rng.random() < NONSENSE_SHARE:
            return make_nonsense(self._world, observation, rng)
        if expert is not None and (may_win or not perturbed):
            action = expert.act().action
            if may_win or not self._would_win(action):
                return action
        commands = [each for each in observation.admissible if not self._would_win(each)]
        return choose_curiously(self._world, self._ours.state, commands, self._executed, rng)

    def _would_win(self, action: str) -> bool:
        command = parse_command(self._world, action)
        return command is not None and is_won(
            self._world, apply_command(self._world, self._ours.state, command)
        )

    def _step(self, action: str) -> Transition:
        command = parse_command(self._world, action.strip())
        is_admissible = action.strip() in self._admissible
        self._history.append(action)
        ours, theirs = self._ours.step(action), self._reference.step(action)
        self._compare(ours.observation, theirs.observation, action)
        for what in ("is_won", "is_done", "score"):
            a, b = getattr(ours, what), getattr(theirs, what)
            if a != b:
                raise self._mismatch(what, str(a), str(b))
        if is_admissible and command is not None and not self._is_won:
            self._executed[command.verb] += 1
        elif not is_admissible:
            self._num_nonsense += 1
        self._is_won = ours.is_won
        return ours

    def _compare(self, ours: Observation, theirs: Observation, action: str) -> None:
        if ours.text != theirs.text:
            raise self._mismatch("observation", repr(ours.text), repr(theirs.text))
        if ours.admissible != theirs.admissible:
            missing = sorted(set(theirs.admissible) - set(ours.admissible))
            extra = sorted(set(ours.admissible) - set(theirs.admissible))
            raise self._mismatch("admissible", f"only here: {extra}", f"only here: {missing}")
        if ours.inventory != theirs.inventory:
            raise self._mismatch("inventory", repr(ours.inventory), repr(theirs.inventory))
        self._admissible = ours.admissible

    def _mismatch(self, what: str, ours: str, reference: str) -> _Mismatch:
        action = self._history[-1] if self._history else ""
        step = len(self._history) - 1
        return _Mismatch(
            Difference(
                *(self._path, self._walk, step, action, what, ours, reference),
                history=tuple(self._history),
            )
        )

"""Plays our engine and the official one in lockstep and compares every answer."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from declutch.envs.alfworld.dynamics import (
    VERBS,
    admissible_commands,
    apply_command,
    is_won,
    parse_command,
)
from declutch.envs.alfworld.env import AlfworldEnv
from declutch.envs.alfworld.expert import Expert
from declutch.envs.alfworld.game import load_world
from declutch.envs.alfworld.levels import KINDS, SPLITS
from declutch.envs.alfworld.reference import ReferenceEnv
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.world import State, World
from declutch.envs.protocol import Observation, Transition
from declutch.errors import UserError
from declutch.records import TaskId

NONSENSE_SHARE = 0.15
PERTURBED_SHARE = 0.35
# What random play hardly ever gets to do, and how often a curious walk seeks it.
RARE_VERBS = ("clean", "cool", "heat", "slice", "use")
RARE_SHARE = 0.6
# Steps an expert's walk may take beyond the asked number to bring its game to an end.
NUM_FINISHING_STEPS = 20
# The official engine keeps about 5 MB of every game it has played.
NUM_GAMES_PER_PROCESS = 40
# One game in so many also has its stored walkthrough replayed, which costs a slow reset.
WALKTHROUGH_EVERY = 5


@dataclass(frozen=True)
class Difference:
    """The first place where the engines disagree.

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
    """What was compared.

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
        """Both reports as one; the first difference wins."""
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


def draw_games(suite: AlfworldSuite, num_games: int, seed: int) -> tuple[Path, ...]:
    """Game files drawn evenly over all splits and task types, as many as there are.

    Raises:
        UserError: the suite has no games.
    """
    rng = random.Random(seed)
    groups: dict[tuple[str, str], list[TaskId]] = {}
    present = [split for split in SPLITS if (suite.root / split).is_dir()]
    for split in present or SPLITS:
        for task in suite.tasks(split):
            groups.setdefault((split, task.kind), []).append(task)
    for group in groups.values():
        rng.shuffle(group)
    drawn: list[TaskId] = []
    while len(drawn) < num_games and any(groups.values()):
        drawn += [group.pop() for group in groups.values() if group]
    return tuple(suite.path_of(task) for task in drawn[:num_games])


def verify_games(
    paths: Sequence[Path],
    seed: int,
    num_steps: int = 30,
    workers: int = 1,
    on_progress: Callable[[VerifyReport], None] | None = None,
) -> VerifyReport:
    """Compare both engines on every game: walks, nonsense and some walkthroughs.

    Every other walk is the expert's, perturbed; the others are random. It stops at the first
    difference.

    Args:
        paths: game files.
        seed: seeds every walk; a game's walk does not depend on the other games.
        num_steps: steps of each walk, at least; a walk does not win before.
        workers: processes, each with an engine of its own, renewed now and then because the
            official engine does not give back its memory; 0 plays in this process.
        on_progress: called with everything compared so far after every game.
    Raises:
        UserError: the official engine is missing, or a file is no playable game.
    """
    jobs = [
        _Job(path, seed, num_steps, number % 2 == 0, number % WALKTHROUGH_EVERY == 0)
        for number, path in enumerate(paths)
    ]
    report = VerifyReport()
    for each in _play_all(jobs, workers):
        report = report.merge(each)
        if on_progress is not None:
            on_progress(report)
        if report.difference is not None:
            break
    return report


@dataclass(frozen=True)
class _Job:
    path: Path
    seed: int
    num_steps: int
    is_expert: bool
    has_walkthrough: bool


def _play_all(jobs: Sequence[_Job], workers: int) -> Iterator[VerifyReport]:
    if workers == 0:
        yield from map(_verify_game, jobs)
        return
    # Pools of a few games each, because renewing the processes inside one pool (its
    # `max_tasks_per_child`) can wait forever in Python 3.11.
    size = workers * NUM_GAMES_PER_PROCESS
    for start in range(0, len(jobs), size):
        yield from _play_in_pool(jobs[start : start + size], workers)


def _play_in_pool(jobs: Sequence[_Job], workers: int) -> Iterator[VerifyReport]:
    # Spawned, not forked: the planner's library and torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        for future in as_completed([pool.submit(_verify_game, job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool:
        raise UserError(
            "a process that compared games was killed, perhaps because memory ran out; try again "
            f"with fewer than --workers {workers}"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _verify_game(job: _Job) -> VerifyReport:
    world = load_world(job.path)
    rng = random.Random(f"{job.seed} {job.path.parent.parent.name} {job.path.parent.name}")
    split, folder = job.path.parts[-4], job.path.parts[-3]
    kind = folder.partition("-")[0]
    label = kind if kind in KINDS else "other"
    report = VerifyReport(num_games=1, games={f"{split}/{label}": 1})
    reference = ReferenceEnv(lambda _: job.path)
    try:
        match = _Match(job.path, world, reference)
        report = report.merge(match.play("expert" if job.is_expert else "random", job, rng))
        if job.has_walkthrough and world.walkthrough and report.difference is None:
            match = _Match(job.path, world, reference)
            report = report.merge(match.play("walkthrough", job, rng))
    finally:
        reference.close()
    return report


class _Mismatch(Exception):
    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.what)
        self.difference = difference


class _Match:
    """One episode played on both engines."""

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

    def play(self, walk: str, job: _Job, rng: random.Random) -> VerifyReport:
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

    def _wander(self, first: Observation, job: _Job, rng: random.Random) -> None:
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
            return _make_nonsense(self._world, observation, rng)
        if expert is not None and (may_win or not perturbed):
            action = expert.act().action
            if may_win or not self._would_win(action):
                return action
        commands = [each for each in observation.admissible if not self._would_win(each)]
        return _choose_curiously(self._world, self._ours.state, commands, self._executed, rng)

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


def _choose_curiously(
    world: World,
    state: State,
    commands: Sequence[str],
    executed: Mapping[str, int],
    rng: random.Random,
) -> str:
    """Something rare, something that makes the rare possible, or the verb tried least so far."""
    if rng.random() < RARE_SHARE:
        rare = [each for each in commands if each.startswith(RARE_VERBS)]
        if rare:
            return _choose_least(rare, executed, rng)
        leading = [each for each in commands if _leads_to_rare(world, state, each)]
        if leading:
            return rng.choice(leading)
    if rng.random() < 0.5:
        return rng.choice(list(commands))
    return _choose_least(commands, executed, rng)


def _leads_to_rare(world: World, state: State, text: str) -> bool:
    command = parse_command(world, text)
    if command is None or command.verb not in ("go to", "take"):
        return False
    after = admissible_commands(world, apply_command(world, state, command))
    return any(each.startswith(RARE_VERBS) for each in after)


def _choose_least(commands: Sequence[str], executed: Mapping[str, int], rng: random.Random) -> str:
    """A command of the verb executed least so far."""
    by_verb: dict[str, list[str]] = {}
    for command in commands:
        verb = next(each for each in VERBS if command == each or command.startswith(f"{each} "))
        by_verb.setdefault(verb, []).append(command)
    least = min(executed.get(verb, 0) for verb in by_verb)
    verbs = [verb for verb in by_verb if executed.get(verb, 0) == least]
    return rng.choice(by_verb[rng.choice(verbs)])


def _make_nonsense(world: World, observation: Observation, rng: random.Random) -> str:
    """A command that is malformed, impossible or oddly spelt; now and then it still works."""
    known = rng.choice(observation.admissible)
    thing = rng.choice(world.object_names) if world.object_names else "mug 1"
    place, other = rng.choice(world.receptacle_names), rng.choice(world.receptacle_names)
    return rng.choice(
        (
            "",
            "   ",
            f"  {known}\t\n",
            known.upper(),
            known.capitalize(),
            known.replace(" ", "  "),
            known[: rng.randrange(len(known))],
            f"{known}.",
            f"{known} {known}",
            "dance",
            f"eat {thing}",
            f"go to {thing}",
            f"open {thing}",
            f"go to {place}",
            f"open {place}",
            f"close {place}",
            f"examine {place}",
            f"examine {thing}",
            f"take {thing} from {place}",
            f"take {thing}",
            f"take {thing} from {place} from {other}",
            f"move {thing} to {place}",
            f"put {thing} in/on {place}",
            f"heat {thing} with {place}",
            f"cool {thing} with {place}",
            f"clean {thing} with {place}",
            f"slice {thing} with {place}",
            f"slice {thing} with {thing}",
            f"use {place}",
            f"use {thing}",
            f"take {thing.split()[0]} 99 from {place}",
            f"take {thing.split()[0]} from {place.split()[0]}",
            "look around",
            "inventory 1",
            "help me",
            "go to",
            "nehmen Sie die Tasse ☕ \u00e9\u4f60\u597d",
            "\u00a0look\u2003",
            "look " * 2000,
            "take {o} from {r}",
            "<action>look</action>",
        )
    )

"""Plays our engine and the official one in lockstep over many games and compares every answer."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from declutch.envs.alfworld.game import load_world
from declutch.envs.alfworld.levels import KINDS, SPLITS
from declutch.envs.alfworld.match import Job, Match, VerifyReport
from declutch.envs.alfworld.reference import ReferenceEnv
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.ground.children import end_with_parent
from declutch.ground.errors import UserError
from declutch.records import TaskId

# The official engine keeps about 5 MB of every game it has played.
NUM_GAMES_PER_PROCESS = 40
# One game in so many also has its stored walkthrough replayed, which costs a slow reset.
WALKTHROUGH_EVERY = 5


def draw_games(suite: AlfworldSuite, num_games: int, seed: int) -> tuple[Path, ...]:
    """Draw the ALFWorld games to verify our engine on, evenly over all splits and task types.

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
    """Verify our ALFWorld engine against the official one on games, up to the first difference.

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
        Job(path, seed, num_steps, number % 2 == 0, number % WALKTHROUGH_EVERY == 0)
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


def _play_all(jobs: Sequence[Job], workers: int) -> Iterator[VerifyReport]:
    if workers == 0:
        yield from map(_verify_game, jobs)
        return
    # Pools of a few games each, because renewing the processes inside one pool (its
    # `max_tasks_per_child`) can wait forever in Python 3.11.
    size = workers * NUM_GAMES_PER_PROCESS
    for start in range(0, len(jobs), size):
        yield from _play_in_pool(jobs[start : start + size], workers)


def _play_in_pool(jobs: Sequence[Job], workers: int) -> Iterator[VerifyReport]:
    # Spawned, not forked: the planner's library and torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
    )
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


def _verify_game(job: Job) -> VerifyReport:
    world = load_world(job.path)
    rng = random.Random(f"{job.seed} {job.path.parent.parent.name} {job.path.parent.name}")
    split, folder = job.path.parts[-4], job.path.parts[-3]
    kind = folder.partition("-")[0]
    label = kind if kind in KINDS else "other"
    report = VerifyReport(num_games=1, games={f"{split}/{label}": 1})
    reference = ReferenceEnv(lambda _: job.path)
    try:
        match = Match(job.path, world, reference)
        report = report.merge(match.play("expert" if job.is_expert else "random", job, rng))
        if job.has_walkthrough and world.walkthrough and report.difference is None:
            match = Match(job.path, world, reference)
            report = report.merge(match.play("walkthrough", job, rng))
    finally:
        reference.close()
    return report

"""Milliseconds of steps and resets of our ALFWorld engine, against the official one.

    python benchmarks/alfworld_engine.py --data DIR [--num-games 12] [--num-steps 30] [--seed 0]

It needs the official games and the extra `textworld`. Games are drawn evenly over splits and task
types. The actions of each game are drawn from the admissible ones, with rare verbs favoured, and
stop short of winning. Both engines then play these actions in one process, build observation and
admissible commands at every step, and every answer is compared.

Times are CPU seconds of this process, in which the official planner runs, too, so that other work
on the machine does not count; wall seconds are shown beside them. Our engine repeats the actions
until a second has passed. There are three kinds of resets: "bare file" reads, checks and compiles
the game file, with nothing remembered from other games; "disk cache" reads the file and the
compiled game; "resident" is what training does from a game's second episode on. Game files are in
the operating system's file cache for both engines. Memory is what tracemalloc counts for live
environments in the middle of distinct games, with each environment's own compiled game and without
it.
"""

from __future__ import annotations

import argparse
import gc
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from declutch.envs.alfworld.curiosity import RARE_VERBS
from declutch.envs.alfworld.dynamics import apply_command, is_won, parse_command
from declutch.envs.alfworld.env import AlfworldEnv
from declutch.envs.alfworld.game import forget_mechanics, load_world
from declutch.envs.alfworld.reference import ReferenceEnv
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.verify import draw_games
from declutch.envs.alfworld.world import World
from declutch.envs.protocol import Transition
from declutch.records import TaskId

MIN_SECONDS = 1.0
NUM_LIVE = 1000
TASK = TaskId("alfworld", "", 0, "")


@dataclass(frozen=True)
class Clock:
    """The CPU seconds and the wall seconds of some work."""

    cpu: float
    wall: float

    def per(self, count: int) -> Clock:
        return Clock(self.cpu / count, self.wall / count)


def measure(work: Callable[[], object], min_seconds: float = 0.0) -> Clock:
    """The mean time of one call, over as many calls as fill `min_seconds`."""
    cpu, wall, count = time.process_time(), time.perf_counter(), 0
    while count == 0 or time.perf_counter() - wall < min_seconds:
        work()
        count += 1
    return Clock(time.process_time() - cpu, time.perf_counter() - wall).per(count)


def draw_actions(world: World, num_steps: int, rng: random.Random) -> list[str]:
    """Draw admissible actions that do not win, rare verbs half of the time where there are any."""
    env = AlfworldEnv(lambda task: world)
    observation = env.reset(TASK)
    actions: list[str] = []
    while len(actions) < num_steps:
        rare = [each for each in observation.admissible if each.startswith(RARE_VERBS)]
        action = rng.choice(rare if rare and rng.random() < 0.5 else observation.admissible)
        command = parse_command(world, action)
        if command is None or is_won(world, apply_command(world, env.state, command)):
            continue
        actions.append(action)
        observation = env.step(action).observation
    return actions


def play(env: AlfworldEnv | ReferenceEnv, actions: Sequence[str]) -> list[Transition]:
    return [env.step(action) for action in actions]


def time_reference(
    paths: Sequence[Path], actions: Sequence[Sequence[str]]
) -> tuple[Clock, Clock, list[list[Transition]]]:
    """The mean reset, the mean step and every transition of the official engine."""
    reset_times, step_times, answers = [], [], []
    for path, plays in zip(paths, actions, strict=True):
        env = ReferenceEnv(lambda task, path=path: path)
        reset_times.append(measure(lambda env=env: env.reset(TASK)))
        step_times.append(measure(lambda env=env, plays=plays: answers.append(play(env, plays))))
        env.close()
    num_steps = sum(map(len, actions))
    return mean(reset_times, len(paths)), mean(step_times, num_steps), answers


def mean(clocks: Sequence[Clock], count: int) -> Clock:
    return Clock(sum(each.cpu for each in clocks), sum(each.wall for each in clocks)).per(count)


def time_steps(worlds: Sequence[World], actions: Sequence[Sequence[str]]) -> Clock:
    """The mean step of our engine; resets between the repetitions are not counted."""
    envs = [AlfworldEnv(lambda task, world=world: world) for world in worlds]
    total, rounds = [], 0
    started = time.perf_counter()
    while time.perf_counter() - started < MIN_SECONDS:
        for env in envs:
            env.reset(TASK)
        total.append(
            measure(lambda: [play(e, plays) for e, plays in zip(envs, actions, strict=True)])
        )
        rounds += 1
    return mean(total, rounds * sum(map(len, actions)))


def time_resets(paths: Sequence[Path], cache: Path) -> tuple[Clock, Clock, Clock]:
    """Our mean reset from the bare file, from the disk cache, and of a resident game."""

    def reset(load: Callable[[Path], World]) -> None:
        for path in paths:
            AlfworldEnv(lambda task, path=path: load(path)).reset(TASK)

    def from_bare_file(path: Path) -> World:
        forget_mechanics()
        return load_world(path)

    reset(lambda path: load_world(path, cache))
    resident = {path: load_world(path) for path in paths}
    loaders = (from_bare_file, lambda path: load_world(path, cache), resident.__getitem__)
    bare, cached, kept = (
        measure(lambda load=load: reset(load), MIN_SECONDS).per(len(paths)) for load in loaders
    )
    return bare, cached, kept


def measure_memory(paths: Sequence[Path], num_steps: int) -> tuple[float, float]:
    """Bytes per live environment, with a compiled game of its own and with a shared one."""

    def fill(worlds: Sequence[World]) -> list[AlfworldEnv]:
        envs = []
        for number in range(NUM_LIVE):
            world = worlds[number % len(worlds)]
            env = AlfworldEnv(lambda task, world=world: world)
            observation, rng = env.reset(TASK), random.Random(number)
            for _ in range(num_steps):
                observation = env.step(rng.choice(observation.admissible)).observation
            envs.append(env)
        return envs

    gc.collect()
    tracemalloc.start()
    try:
        worlds = [load_world(path) for path in paths]
        gc.collect()
        for_worlds = tracemalloc.get_traced_memory()[0] / len(worlds)
        envs = fill(worlds)
        gc.collect()
        total = tracemalloc.get_traced_memory()[0] - for_worlds * len(worlds)
        return total / len(envs) + for_worlds, total / len(envs)
    finally:
        tracemalloc.stop()


def print_row(name: str, ours: Clock, reference: Clock, wanted: int | None) -> None:
    ratio = reference.cpu / ours.cpu
    verdict = (
        "" if wanted is None else f"  (wanted {wanted:,}x: {'yes' if ratio >= wanted else 'NO'})"
    )
    print(
        f"{name:<24}{reference.cpu * 1e3:>12.3f}{ours.cpu * 1e3:>12.4f}{ratio:>12,.0f}x"
        f"{reference.wall / ours.wall:>12,.0f}x{verdict}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds json_2.1.1")
    parser.add_argument("--num-games", type=int, default=12)
    parser.add_argument("--num-steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    paths = draw_games(AlfworldSuite(args.data), args.num_games, args.seed)
    worlds = [load_world(path) for path in paths]
    rng = random.Random(args.seed)
    actions = [draw_actions(world, args.num_steps, rng) for world in worlds]

    slow_reset, slow_step, answers = time_reference(paths, actions)
    num_differences = 0
    for world, plays, theirs in zip(worlds, actions, answers, strict=True):
        env = AlfworldEnv(lambda task, world=world: world)
        env.reset(TASK)
        num_differences += sum(a != b for a, b in zip(play(env, plays), theirs, strict=True))
    fast_step = time_steps(worlds, actions)
    with tempfile.TemporaryDirectory() as cache:
        bare, cached, resident = time_resets(paths, Path(cache))
    with_world, alone = measure_memory(paths, args.num_steps)

    print(
        f"{len(paths)} games x {args.num_steps} actions, seed {args.seed}; {num_differences} of ",
        end="",
    )
    print(f"{sum(map(len, actions))} answers differ")
    print(
        f"{'mean milliseconds':<24}{'official':>12}{'ours':>12}{'CPU ratio':>13}{'wall ratio':>13}"
    )
    print_row("step", fast_step, slow_step, 1000)
    print_row("reset, bare file", bare, slow_reset, 100)
    print_row("reset, disk cache", cached, slow_reset, 1000)
    print_row("reset, resident", resident, slow_reset, 1000)
    print(f"steps per CPU second: official {1 / slow_step.cpu:,.1f}, ours {1 / fast_step.cpu:,.0f}")
    print(
        f"memory per live environment ({NUM_LIVE} of them, {args.num_steps} steps in): "
        f"{with_world / 1024:.1f} KiB with a compiled game of its own, {alone / 1024:.1f} KiB "
        "beside a shared one"
    )


if __name__ == "__main__":
    main()

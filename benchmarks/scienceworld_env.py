"""Answers and steps per second of our ScienceWorld client, against the package's own.

    python benchmarks/scienceworld_env.py [--tasks boil ...] [--num-variations 1] [--num-steps 30]
        [--gold] [--actions templates]

It needs the extra `scienceworld`. The package's own client plays some variations of each task: a
random walk over valid actions, and with --gold its gold path. Our client replays the same actions
twice. The first time it asks for all that the package asks for, and observation, score, end, look,
inventory and valid actions are expected to be equal. The second time it asks as an agent's
environment does: for the forms of actions and objects that the papers' prompt lists, or with
--actions enumerated for all valid actions. Where animals move, these answers may differ, because
the simulator's random stream is shared with the naming of objects.

All JVMs have equal identity hashes, without which not even the package repeats itself, and each has
played the same actions before it is timed. Times are CPU seconds of the client's process and its
JVM together, with the JVM's compiler, so that other work on the machine counts less; wall seconds
are beside them. `scienceworld_memory.py` measures memory.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from declutch.config.env import ScienceWorldConfig
from declutch.envs.scienceworld.env import ScienceWorldEnv
from declutch.envs.scienceworld.reference import PackageClient, replay, walk
from declutch.envs.scienceworld.simulator import DETERMINISM, Launch, Simulator, find_java
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.envs.scienceworld.tasks import KINDS
from declutch.records import TaskId


@dataclass(frozen=True)
class Clock:
    """The CPU seconds and the wall seconds of some number of steps."""

    cpu: float
    wall: float
    num_steps: int

    def __add__(self, other: Clock) -> Clock:
        return Clock(self.cpu + other.cpu, self.wall + other.wall, self.num_steps + other.num_steps)


def measure(work: Callable[[], object], pid: int, num_steps: int) -> Clock:
    """Time `work`; the CPU seconds of the JVM `pid` are included."""
    process = psutil.Process(pid)

    def cpu() -> float:
        times = process.cpu_times()
        return time.process_time() + times.user + times.system

    cpu_before, wall_before = cpu(), time.perf_counter()
    work()
    return Clock(cpu() - cpu_before, time.perf_counter() - wall_before, num_steps)


@dataclass(frozen=True)
class Comparison:
    """What came of one sequence of actions that both clients played."""

    num_actions: int
    num_exact: int
    num_lean: int
    package: Clock
    ours: Clock


def compare(
    package: PackageClient,
    simulator: Simulator,
    env: ScienceWorldEnv,
    kind: str,
    variation: int,
    actions: list[str],
) -> Comparison:
    """Play `actions` with both clients; each has played them before it is timed."""
    package.start(kind, variation)
    theirs = []
    clock = measure(
        lambda: theirs.extend(package.step(action) for action in actions), package.pid, len(actions)
    )
    simulator.load(kind, variation)
    exact = replay(simulator, ["look around", *actions], ask_all=True)[1:]
    task = TaskId("scienceworld", "", 0, f"{kind}/{variation}", kind)
    env.reset(task)
    for action in actions:
        env.step(action)
    env.reset(task)
    transitions = []
    pid = env._simulator.pid
    ours = measure(
        lambda: transitions.extend(env.step(action) for action in actions), pid, len(actions)
    )
    lean = [
        (t.observation.text, t.score) == (a.reply.text, max(a.reply.score, 0) / 100)
        for t, a in zip(transitions, theirs, strict=True)
    ]
    same = [a == b for a, b in zip(exact, theirs, strict=True)]
    return Comparison(len(actions), sum(same), sum(lean), clock, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tasks", nargs="+", default=list(KINDS), choices=KINDS, metavar="TASK")
    parser.add_argument("--num-variations", type=int, default=3)
    parser.add_argument("--num-steps", type=int, default=30)
    parser.add_argument("--gold", action="store_true", help="play the gold paths as well")
    parser.add_argument("--actions", default="templates", choices=("templates", "enumerated"))
    parser.add_argument(
        "--default-jvm",
        action="store_true",
        help="the package's JVM as it comes: a little faster, and no answer need be equal",
    )
    args = parser.parse_args()
    launch = Launch(find_java(), timeout_seconds=600)
    suite = ScienceWorldSuite(ScienceWorldConfig(actions=args.actions, timeout_seconds=600))
    package, simulator, env = (
        PackageClient(launch, *(() if args.default_jvm else DETERMINISM)),
        Simulator(launch),
        suite.make_env(),
    )
    print(f"{'task':<50}{'actions':>8}{'exact':>7}{'lean':>6}{'CPU':>8}{'wall':>8}")
    total = []
    for kind in args.tasks:
        found = []
        for variation in range(args.num_variations):
            first = package.start(kind, variation, args.gold)
            gold = package.gold_path() if args.gold else []
            assert first
            walked = walk(package, args.num_steps, random.Random(f"{kind}/{variation}"))
            for actions in ([action for action, _ in walked], gold):
                if actions:
                    found.append(compare(package, simulator, env, kind, variation, actions))
        ours = sum((c.ours for c in found), Clock(0, 0, 0))
        theirs = sum((c.package for c in found), Clock(0, 0, 0))
        total.append((theirs, ours))
        print(
            f"{kind:<50}{sum(c.num_actions for c in found):>8}{sum(c.num_exact for c in found):>7}"
            f"{sum(c.num_lean for c in found):>6}{theirs.cpu / ours.cpu:>7.1f}x"
            f"{theirs.wall / ours.wall:>7.1f}x",
            flush=True,
        )
    theirs = sum((each for each, _ in total), Clock(0, 0, 0))
    ours = sum((each for _, each in total), Clock(0, 0, 0))
    for name, clock in (("package", theirs), ("ours", ours)):
        print(
            f"{name}: {clock.num_steps / clock.cpu:.1f} steps per CPU second, "
            f"{clock.num_steps / clock.wall:.1f} per second"
        )
    ratio = theirs.cpu / ours.cpu
    print(f"ratio {ratio:.1f} (wanted 4: {'yes' if ratio >= 4 else 'NO'})")
    suite.close()
    simulator.close()
    package.close()


if __name__ == "__main__":
    main()

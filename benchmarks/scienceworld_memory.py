"""Memory of ScienceWorld environments, each task by itself and many at once.

    python benchmarks/scienceworld_memory.py [--num-episodes 20] [--live 16] [--actions templates]

It needs the extra `scienceworld`. For each task a fresh JVM plays that many random episodes of 30
steps: forms of actions with random objects within reach in their slots, or random valid actions
with --actions enumerated. Then its proportional set size (PSS) is read from /proc/PID/smaps_rollup.
The last JVMs stay open, so that as many as --live are alive together at the end, and their sum is
measured. The package's own client plays the first task for as many episodes in a JVM with its
default options.
"""

from __future__ import annotations

import argparse
import random
import statistics
from pathlib import Path

from declutch.config.env import ScienceWorldConfig
from declutch.envs.protocol import draw_command
from declutch.envs.scienceworld.env import ScienceWorldEnv
from declutch.envs.scienceworld.reference import PackageClient, walk
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.envs.scienceworld.tasks import KINDS
from declutch.records import TaskId


def pss_mib(pid: int) -> float:
    """The proportional set size of a process, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no PSS of process {pid}")


def play(env: ScienceWorldEnv, task: TaskId, num_steps: int) -> int:
    """Play one random episode; gives the process id of its JVM."""
    rng = random.Random(task.name)
    observation = env.reset(task)
    for _ in range(num_steps):
        action = draw_command(observation.admissible, rng)
        assert action is not None
        transition = env.step(action)
        observation = transition.observation
        if transition.is_done:
            break
    return env._simulator.pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tasks", nargs="+", default=list(KINDS), choices=KINDS, metavar="TASK")
    parser.add_argument("--num-episodes", type=int, default=20)
    parser.add_argument("--num-steps", type=int, default=30)
    parser.add_argument("--live", type=int, default=16)
    parser.add_argument("--actions", default="templates", choices=("templates", "enumerated"))
    args = parser.parse_args()
    config = ScienceWorldConfig(actions=args.actions, max_live=1, timeout_seconds=600)
    live: list[tuple[ScienceWorldSuite, int]] = []
    found = []
    print(f"{'task':<50}{'PSS MiB':>9}")
    for kind in args.tasks:
        suite = ScienceWorldSuite(config)
        env = suite.make_env()
        tasks = [task for task in suite.tasks("train") if task.kind == kind]
        for number in range(args.num_episodes):
            pid = play(env, tasks[number % len(tasks)], args.num_steps)
        found.append(pss_mib(pid))
        print(f"{kind:<50}{found[-1]:>9.0f}", flush=True)
        live.append((suite, pid))
        if len(live) > args.live:
            live.pop(0)[0].close()
    together = [pss_mib(pid) for _, pid in live]
    print(
        f"{len(together)} alive at once: {sum(together):.0f} MiB, at most {max(together):.0f} each"
    )
    for suite, _ in live:
        suite.close()
    package = PackageClient(suite.launch)
    for variation in range(args.num_episodes):
        package.start(args.tasks[0], variation)
        walk(package, args.num_steps, random.Random(variation))
    print(
        f"median {statistics.median(found):.0f} MiB (wanted 250), at most {max(found):.0f} "
        f"(wanted 350); the package's default {pss_mib(package.pid):.0f}"
    )
    package.close()


if __name__ == "__main__":
    main()

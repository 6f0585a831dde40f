"""Which of the simulator's gold paths fail, and how long they are.

    python benchmarks/scienceworld_gold.py [--level L0] [--tasks boil ...] [--num-variations 3]

Every chosen variation's gold path is searched and played in a JVM with the project's options; the
failing ones are listed by name, with what they ended with.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

from declutch.config import EnvConfig, ScienceWorldConfig
from declutch.envs.scienceworld.expert import GoldPath, Planner
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.envs.scienceworld.tasks import KINDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--level", default="train", help="split or level, e.g. L0")
    parser.add_argument("--tasks", nargs="+", default=list(KINDS), choices=KINDS, metavar="TASK")
    parser.add_argument("--num-variations", type=int, help="of each task; all if not given")
    args = parser.parse_args()
    suite = ScienceWorldSuite(ScienceWorldConfig())
    planner, max_steps = Planner(suite.launch), EnvConfig().max_steps
    found: dict[str, list[GoldPath]] = defaultdict(list)
    for task in suite.tasks(args.level):
        is_enough = args.num_variations and len(found[task.kind]) >= args.num_variations
        if task.kind not in args.tasks or is_enough:
            continue
        gold = planner.play_gold(task)
        found[task.kind].append(gold)
        if not gold.is_solved:
            print(f"FAILS {task.name}: score {gold.score} {gold.error}", flush=True)
    planner.close()
    print(f"{'task':<50}{'played':>8}{'solved':>8}{f'in {max_steps}':>8}{'longest':>9}")
    for kind, paths in found.items():
        if paths:
            solved = [len(path.actions) for path in paths if path.is_solved]
            print(
                f"{kind:<50}{len(paths):>8}{len(solved):>8}"
                f"{sum(length <= max_steps for length in solved):>8}{max(solved, default=0):>9}"
            )


if __name__ == "__main__":
    main()

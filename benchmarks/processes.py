"""How much faster a training run is in several processes of one machine.

    OMP_NUM_THREADS=1 python benchmarks/processes.py [--processes 2,4] [--model COLD_START]

Runs of the demo's settings with GCD and one seed, in one process and in several, in rotating order.
Seconds are of the clock, so that nothing else may run. The first iteration of each run warms up and
is left out; an evaluation follows the last one. Ratios are medians over the rounds. Without --model
the demo's cold start is made first, which takes minutes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.gcd_share import in_silence
from declutch.cold_start.pipeline import make_cold_start
from declutch.config.files import change_config, load_config
from declutch.config.run import Config
from declutch.envs.registry import make_suite
from declutch.runs.folder import RunFolder
from declutch.train.loop import run_iteration
from declutch.train.session import Session, Silent

ITERATION = ("play", "label", "judge", "update")
PARTS = ("play", "judge", "update", "iteration", "eval")


def measure(config: Config, folder: Path) -> dict[str, float]:
    """Train a run; the seconds of an iteration's parts, of its whole, and of an evaluation."""
    run = RunFolder(folder)
    run.write_config(config)
    session = Session.start(config, run, make_suite(config.env), Silent())
    spent: Counter[str] = Counter()
    count = config.train.iterations - 1
    try:
        # What starts with the first one, other processes too, is no part of any.
        run_iteration(session)
        for _ in range(count):
            run_iteration(session)
            seconds = session.clock.seconds
            spent.update(seconds)
            spent["iteration"] += sum(seconds[name] for name in ITERATION)
    finally:
        session.learner.close()
    return {name: spent[name] / (1 if name == "eval" else count) for name in PARTS}


def main() -> None:
    """Print a line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a cold start of the demo's settings")
    parser.add_argument("--processes", default="2", help="numbers beside 1, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=5, help="that are measured in a run")
    parser.add_argument("settings", nargs="*", help="KEY=VALUE, laid over the demo's settings")
    options = parser.parse_args()
    counts = [1, *map(int, options.processes.split(","))]
    config = load_config(["demo"], options.settings)
    found: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold = options.model
        if cold is None:
            cold, _ = make_cold_start(config, make_suite(config.env), folder, in_silence)
        iterations = options.iterations + 1
        config = change_config(
            config,
            model={"path": str(cold)},
            train={"iterations": iterations, "save_every": iterations, "save_episodes": 0},
        )
        for turn in range(options.rounds):
            place = turn % len(counts)
            for count in counts[place:] + counts[:place]:
                changed = change_config(config, processes=count)
                found[count].append(measure(changed, folder / f"{count}_{turn}"))
    for count, runs in found.items():
        medians = {part: statistics.median(run[part] for run in runs) for part in PARTS}
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in medians.items())
        line = f"{count} process{'es' if count > 1 else ''}: seconds {parts}"
        if count > 1:
            pairs = list(zip(found[1], runs, strict=True))
            ratios = {
                part: statistics.median(alone[part] / shared[part] for alone, shared in pairs)
                for part in ("iteration", "eval")
            }
            line += f"; an iteration {ratios['iteration']:.2f} times as fast"
            line += f", an evaluation {ratios['eval']:.2f} times"
        print(line)


if __name__ == "__main__":
    main()

"""CPU seconds of a training run with trackers and without, in pairs.

    python benchmarks/trackers.py [--trackers tensorboard] [--pairs 5] [--iterations 10]

A tiny model trains on a few generated households in this process, once with `train.report_to` and
once without, in turns. The seconds are those of this process and not of the trackers' own ones,
which work beside it; the start of the trackers and the wait for them at the end are counted. The
iterations of so small a run take a fraction of a second, so that what a tracker costs is a larger
share of them than of any other run. Since such runs differ by more than a tracker costs, rows are
also timed by themselves.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from declutch.cold_start.pipeline import make_cold_start
from declutch.config.files import parse_config
from declutch.coupling.over_training import CouplingDiagnosis
from declutch.envs.registry import make_suite
from declutch.report.live import TrainWatcher
from declutch.runs.catalogue import listed
from declutch.runs.folder import RunFolder
from declutch.runs.trackers import Trackers
from declutch.train.loop import train

GAMES = {"train": 24, "valid_seen": 12, "valid_unseen": 12}
NUM_METRICS, NUM_ROWS = 37, 200
"""Numbers of a row, about as many as a run without a judge records, and rows that are timed."""


@contextmanager
def in_silence(name: str) -> Iterator[Any]:
    yield lambda done, total: None


def settings(folder: Path, iterations: int) -> dict[str, Any]:
    """A short run with a model that has hardly learned anything."""
    data: dict[str, Any] = {
        "threads": 1,
        "env": {"suite": "households", "cache_dir": str(folder / "cache"), "households": GAMES},
        "tiny": {"hidden_size": 32, "num_layers": 2, "intermediate_size": 64},
        "sft": {"num_episodes": 10, "epochs": 1, "judge_samples": 0, "lr": 3e-3},
        "train": {
            "iterations": iterations,
            "tasks_per_iteration": 4,
            "group_size": 4,
            "max_steps": 6,
            "save_every": 10**6,
        },
        "eval": {"every": 0},
        "gcd": {"enabled": False},
    }
    config = parse_config(data, "benchmark")
    cold, _ = make_cold_start(config, make_suite(config.env), folder, in_silence)
    return {**data, "model": {"path": str(cold)}}


def run(data: dict[str, Any], path: Path, trackers: list[str]) -> float:
    """CPU seconds of a whole run."""
    config = parse_config({**data, "train": {**data["train"], "report_to": trackers}}, "benchmark")
    folder = RunFolder(path)
    folder.write_config(config)
    suite = make_suite(config.env)
    started = time.process_time()
    with TrainWatcher(config.train.iterations, "benchmark") as view:
        diagnosis = CouplingDiagnosis(config, folder, suite, view.note)
        train(config, folder, suite, view, diagnosis)
    return time.process_time() - started


def cost_of_rows(folder: Path, names: list[str]) -> tuple[float, float]:
    """CPU milliseconds of this process for a row of metrics, and for start and end together."""
    run = RunFolder(folder).create()
    config = parse_config({"train": {"report_to": names}}, "benchmark")
    values = {metric.key: 0.5 for metric in listed()[:NUM_METRICS]}
    started = time.process_time()
    trackers = Trackers.open(config, run, [], print)
    opened = time.process_time()
    for iteration in range(1, NUM_ROWS + 1):
        trackers.log({"iteration": iteration, **values})
        # The tracker answers before the next row, as in a run, and what it answers is kept.
        time.sleep(0.02)
    logged = time.process_time()
    trackers.close(is_done=True)
    ended = time.process_time() - logged + opened - started
    return 1000 * (logged - opened) / NUM_ROWS, 1000 * ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--trackers", default="tensorboard", help="names, separated by commas")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=10)
    args = parser.parse_args()
    names = args.trackers.split(",")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        data = settings(folder, args.iterations)
        run(data, folder / "first", [])  # what is made on first use
        pairs = []
        for number in range(args.pairs):
            # Which of the two comes first takes turns.
            order = [[], names] if number % 2 else [names, []]
            seconds = {
                bool(each): run(data, folder / f"run-{number}-{len(each)}", each) for each in order
            }
            pairs.append((seconds[True], seconds[False]))
        row, ends = cost_of_rows(folder / "rows", names)
    with_them, without = (statistics.median(each) for each in zip(*pairs, strict=True))
    shares = [a / b - 1 for a, b in pairs]
    print(
        f"{args.trackers}: {args.pairs} pairs of {args.iterations} iterations, CPU seconds of the "
        f"run: {with_them:.2f} with, {without:.2f} without; "
        f"{100 * statistics.median(shares):+.2f}% in the median of the pairs "
        f"({100 * min(shares):+.1f} to {100 * max(shares):+.1f}%)"
    )
    print(
        f"by itself: {row:.2f} ms of CPU time for a row of {NUM_METRICS} metrics, {ends:.0f} ms "
        "for start and end"
    )


if __name__ == "__main__":
    main()

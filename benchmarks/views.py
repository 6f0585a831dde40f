"""Seconds until the tables of a comparison, and the report of a long run, are drawn.

    OMP_NUM_THREADS=1 python benchmarks/views.py

It writes folders that look like those of real runs, and times what a user calls: `declutch compare
OUT --show` of 100 runs with 7 evaluations each, and `declutch report RUN` of 1,000 iterations with
an evaluation every 10. The numbers in the files are random: what is won grows a little with the
iteration. All runs of a comparison share their cold start, as they do when the command trains them.
Importing what the commands need is timed apart, since it takes the same seconds for small folders.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from declutch.cli.compare import show_tables
from declutch.compare.grid import find_runs
from declutch.config.files import parse_config
from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.results import EvalResult, GameResult
from declutch.records import Outcome
from declutch.report.build import build_report
from declutch.runs.catalogue import phases
from declutch.runs.folder import CONTROL, RunFolder, iteration_name

ARMS = ("grpo", "grpo+gcd", "gigpo", "gigpo+gcd", "rloo")
KINDS = {"L0": 4, "L1": 4, "L2": 2}
"""How many task types a level has."""
ITERATIONS_APART = 10
EPISODES_SAVED, STEPS_SAVED = 16, 15
PROMPT = "task clean mug desk room desk 1 drawer 2 shelf 1 did go drawer 1 , open drawer 1 held "


@dataclass(frozen=True)
class Size:
    """How large evaluations are: games of each level, and how often each is played."""

    games: int
    seeds: int


def draw_evaluation(draw: np.random.Generator, iteration: int, size: Size) -> EvalResult:
    """A random evaluation: later iterations win more."""
    share = 0.4 + 0.3 * min(iteration, 60) / 60
    plays = []
    for level, num_kinds in KINDS.items():
        easiness = draw.normal(0, 0.2, size.games)
        for game in range(size.games):
            for seed in range(size.seeds):
                is_won = bool(draw.random() < share + easiness[game])
                steps = int(draw.integers(4, 20)) if is_won else 20
                counts = ActionCounts(steps, steps // 4, steps // 5, steps // 3, 0, 1, 9 * steps)
                outcome = Outcome.WON if is_won else Outcome.TIMED_OUT
                name, kind = f"{level}-game-{game:04d}/trial", f"kind-{game % num_kinds}"
                plays.append(GameResult(level, name, kind, seed, outcome, float(is_won), counts))
    manifests = {level: sha256(level.encode()).hexdigest() for level in KINDS}
    return EvalResult(
        policy=iteration_name(iteration),
        temperature=0.4,
        protocol="strict",
        manifests=manifests,
        games=tuple(plays),
        suite="alfworld",
        max_steps=30,
        seconds=20.0,
    )


def write_metrics(run: RunFolder, draw: np.random.Generator, num_iterations: int) -> None:
    """Metrics as training records them, a line for each iteration."""
    names = ["success", "return", "num_steps", "response_tokens", "repeated_share", "looped_share"]
    keys = [f"agent/{name}" for name in names]
    keys += [f"update/{name}" for name in ("loss_agent", "clip_share", "entropy", "grad_norm")]
    keys += [f"judge/{name}" for name in ("accuracy", "accuracy_good", "accuracy_bad")]
    keys += [phase.key for phase in phases()]
    lines = []
    for iteration in range(1, num_iterations + 1):
        values = dict(zip(keys, draw.random(len(keys)).tolist(), strict=True))
        lines.append(json.dumps({"iteration": iteration, **values, "time/iteration": 8.0}))
    run.create()
    run.metrics_path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_episodes(run: RunFolder, draw: np.random.Generator, iteration: int) -> None:
    """Some episodes in full, as the browser of the report shows them."""

    def step(number: int) -> dict[str, object]:
        return {
            "prompt": PROMPT + " ".join(map(str, draw.integers(0, 9999, 20))),
            "response": f"find mug </think> <action> go to drawer {number} </action>",
            "action": f"go to drawer {number}",
            "observation": f"The drawer {number} is closed.",
            "is_valid": True,
            "is_admissible": True,
            "reward": 0.0,
            "advantage": float(draw.normal()),
            "label_rule": None,
            "label_oracle": 1,
            "label_llm": None,
            "label_source": "oracle",
            "judgments": [{"response": "bad </answer>", "verdict": 0, "reward": 0.0}] * 8,
        }

    rows = [
        {
            "iteration": iteration,
            "task": {
                "suite": "alfworld",
                "split": "train",
                "index": group,
                "name": f"game-{group}",
            },
            "group": group,
            "role": "agent",
            "outcome": "won",
            "score": 1.0,
            "final_observation": "",
            "steps": [step(number) for number in range(STEPS_SAVED)],
        }
        for group in range(EPISODES_SAVED)
    ]
    path = run.episodes_path(iteration)
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_comparison(out: Path, num_runs: int, num_evaluations: int, size: Size) -> None:
    """A folder of `declutch compare`: runs of five arms, evaluated alike."""
    start = draw_evaluation(np.random.default_rng(0), 0, size)
    for number in range(num_runs):
        draw = np.random.default_rng([1, number])
        run = RunFolder(out / f"{ARMS[number % len(ARMS)]}_s{number // len(ARMS)}")
        write_metrics(run, draw, ITERATIONS_APART * (num_evaluations - 1))
        run.write_evaluation(iteration_name(0), start)
        for place in range(1, num_evaluations):
            iteration = ITERATIONS_APART * place
            run.write_evaluation(iteration_name(iteration), draw_evaluation(draw, iteration, size))


def write_run(out: Path, num_iterations: int, size: Size) -> None:
    """The folder of one long run, with evaluations, saved episodes and a control."""
    draw, run = np.random.default_rng(2), RunFolder(out)
    write_metrics(run, draw, num_iterations)
    run.write_config(parse_config({"threads": 1}, "the benchmark"))
    for iteration in range(0, num_iterations + 1, ITERATIONS_APART):
        run.write_evaluation(iteration_name(iteration), draw_evaluation(draw, iteration, size))
        if iteration:
            write_episodes(run, draw, iteration)
    control = replace(draw_evaluation(draw, 0, size), policy=CONTROL)
    run.write_evaluation(CONTROL, control)


@dataclass(frozen=True)
class Taken:
    """Seconds that a view took, by the clock and of the processor, in every round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def __str__(self) -> str:
        return f"{statistics.median(self.wall):7.2f} s {statistics.median(self.cpu):7.2f} CPU s"


def time_view(view: Callable[[], object], rounds: int) -> Taken:
    """Call a view several times."""
    found = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        view()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return Taken(tuple(wall for wall, _ in found), tuple(cpu for _, cpu in found))


def compare(out: Path) -> None:
    """What `declutch compare OUT --show` does, without its imports."""
    from rich.console import Console

    with contextlib.redirect_stdout(io.StringIO()) as told:
        show_tables(out, find_runs(out, [], [], []), None, Console(file=told, width=160))


def parse_sizes(texts: Sequence[str]) -> list[Size]:
    return [Size(*map(int, text.split("x"))) for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sizes",
        default="25x2,68x3",
        help="games of each of 3 levels x times that each is played, separated by commas",
    )
    options = parser.parse_args()
    for size in parse_sizes(options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            out, run = Path(folder) / "compared", Path(folder) / "run"
            write_comparison(out, options.runs, options.evaluations, size)
            write_run(run, options.iterations, size)
            kind = f"3 levels of {size.games} games x {size.seeds}"
            taken = time_view(lambda out=out: compare(out), options.rounds)  # type: ignore[misc]
            what = f"compare --show, {options.runs} runs x {options.evaluations} evaluations"
            print(f"{what}, {kind}: {taken}", flush=True)
            taken = time_view(lambda run=run: build_report(run), options.rounds)  # type: ignore[misc]
            print(f"report of {options.iterations} iterations, {kind}: {taken}", flush=True)


if __name__ == "__main__":
    main()

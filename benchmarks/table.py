"""Run the benchmarks one after another, and write one table of their ratios (`make bench`).

    OMP_NUM_THREADS=1 python benchmarks/table.py [--out bench] [--usual] [--only rollout,credit]

Every benchmark runs in a process of its own at a short size, or at its usual one with --usual. What
it printed is kept in OUT/NAME.txt, and the lines with a ratio, or with the result of a check, are
rows of OUT/bench.md and OUT/bench.csv. The table says which versions it was measured with, and the
machine's load before each benchmark: other work slows a benchmark by the clock, so that ratios of
CPU seconds count. A benchmark that cannot run here, because a package or a data set is missing, is
a row that says so; one that fails is, too, and the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from declutch.report.drawers.csv import draw_csv
from declutch.report.drawers.markdown import draw_markdown
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, words

ROOT = Path(__file__).parents[1]
VERSIONS = ("declutch", "torch", "transformers", "trl", "verl", "scienceworld", "textworld")


@dataclass(frozen=True)
class Bench:
    """A benchmark of this folder, and what of its output goes into the table.

    Attributes:
        name: of its file.
        lines: what a line of its output begins with or has in it (a regular expression) that
            becomes a row; the last one where there is none.
        short: options of the short size.
        needs: packages without which it cannot run.
        needs_games: whether it needs the official games of ALFWorld, in $ALFWORLD_DATA.
    """

    name: str
    lines: str
    short: str = ""
    needs: tuple[str, ...] = ()
    needs_games: bool = False


BENCHES = (
    Bench("rollout", r"^(HFEngine|without)", "--rounds 1"),
    Bench("reuse", r"times as fast|same tokens", "--rounds 1 --new-tokens 8 --layers 3"),
    Bench("sampling", r"tokens/s", "--rounds 1"),
    Bench("train_step", r"^declutch ", "--rounds 1", needs=("trl",)),
    Bench("credit", r" (verl|loops) |^nthr", "--rounds 1", needs=("verl",)),
    Bench("async_rollout", r"times as fast", "--rounds 1 --episodes 16 --longest 100"),
    Bench("cluster_sim", r"^\| (alfworld|sci)", "--gpus 8 --episodes 128", needs=("simpy",)),
    Bench("coupling", r"^C\d", "--samples 20 --pairs 2"),
    Bench("coverage", r"^\| 0\.0 ", "--evaluations 20"),
    Bench("damage", r"^\| all ", "--cases 100 --workers 1"),
    Bench("gcd_share", r"^GCD's share", "--iterations 2 sft.epochs=2"),
    Bench("kills", r"^\d+ of \d+ ", "--cases 3 --only train"),
    Bench("memory", r"^\| (10 M|7 B)", "--only-computed"),
    Bench("processes", r"times as fast", "--rounds 1 --iterations 2 sft.epochs=2"),
    Bench("serve_load", r"^\| (small|bad)", "--clients 6 --seconds 5", needs=("uvicorn",)),
    Bench("views", r"compare|report", "--runs 20 --iterations 200 --rounds 1"),
    Bench("zoo", r"architectures|variants"),
    Bench(
        "alfworld_engine",
        r"ratio|differ|x$",
        "--num-games 1 --num-steps 5",
        needs=("textworld",),
        needs_games=True,
    ),
    Bench(
        "adapters",
        r"x[ |]|not measured",
        "--num-steps 5 --seconds 1",
        needs=("textworld",),
        needs_games=True,
    ),
    Bench("trackers", r"in the median", "--pairs 1 --iterations 3", needs=("tensorboard",)),
    Bench(
        "scienceworld_env",
        r"ratio|steps",
        "--tasks find-plant --num-variations 1 --num-steps 5",
        needs=("scienceworld",),
    ),
    Bench(
        "scienceworld_memory",
        r"median",
        "--tasks find-plant --num-episodes 1 --num-steps 5",
        needs=("scienceworld",),
    ),
    Bench(
        "scienceworld_kill",
        r"episodes",
        "--num-envs 1 --num-episodes 2 --num-steps 2 --every-seconds 30",
        needs=("scienceworld",),
    ),
)
"""All but `serve`, which needs a server that runs, `coupling_samples`, which makes a file, and
`first_minutes`, which installs everything anew."""


@dataclass(frozen=True)
class Ran:
    """What came of one benchmark.

    Attributes:
        load: the machine's load before it began.
        seconds: by the clock; None where it did not run.
        results: lines of its output, or why there are none.
    """

    bench: Bench
    load: float
    seconds: float | None
    results: tuple[str, ...]
    is_failed: bool = False


def missing(bench: Bench) -> str | None:
    """What a benchmark lacks here; None where it can run."""
    lacking = [name for name in bench.needs if find_spec(name) is None]
    if lacking:
        return f"not run: needs {', '.join(lacking)}"
    if bench.needs_games and "ALFWORLD_DATA" not in os.environ:
        return "not run: needs the games of ALFWorld, in $ALFWORLD_DATA"
    return None


def run(bench: Bench, is_usual: bool, out: Path) -> Ran:
    """Run one benchmark, keep its output in a folder, and choose the lines of the table."""
    load, lacking = os.getloadavg()[0], missing(bench)
    if lacking is not None:
        return Ran(bench, load, None, (lacking,))
    options = [] if is_usual else bench.short.split()
    if bench.needs_games:
        options += ["--data", os.environ["ALFWORLD_DATA"]]
    began = time.perf_counter()
    # The script's folder is its first path; what is measured is this checkout.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / f"{bench.name}.py"), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    seconds = time.perf_counter() - began
    (out / f"{bench.name}.txt").write_text(ended.stdout + ended.stderr, encoding="utf-8")
    if ended.returncode:
        last = ([*ended.stderr.splitlines(), *ended.stdout.splitlines()] or [""])[-1]
        return Ran(bench, load, seconds, (f"FAILED ({ended.returncode}): {last}",), True)
    return Ran(bench, load, seconds, choose_lines(ended.stdout, bench.lines))


def choose_lines(output: str, wanted: str) -> tuple[str, ...]:
    """The lines of an output that have what is wanted; its last line where none has."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = [line for line in lines if re.search(wanted, line)]
    return tuple(" ".join(line.split()).strip("| ") for line in found or lines[-1:])


def versions() -> str:
    """The versions of what was measured and of what it is measured against."""
    found = [f"Python {platform.python_version()}"]
    for name in VERSIONS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    return ", ".join([*found, f"commit {commit or 'unknown'}", cores])


def make_sheet(rans: Sequence[Ran], note: str) -> Sheet:
    """The table of what all benchmarks found."""
    columns = (words("benchmark"), Column("load"), Column("time", "s"), words("result"))
    rows = []
    for ran in rans:
        for place, line in enumerate(ran.results):
            seconds = "" if ran.seconds is None else f"{ran.seconds:.0f}"
            first = ("", "", "") if place else (ran.bench.name, f"{ran.load:.1f}", seconds)
            cells = tuple(Cell(text) for text in (*first, line))
            rows.append(SheetRow(cells, is_apart=not place))
    return Sheet(title="Benchmarks", columns=columns, rows=tuple(rows), notes=(note,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--usual", action="store_true", help="at the usual sizes, for hours")
    parser.add_argument("--only", default="", help="names, separated by commas")
    options = parser.parse_args()
    names = [bench.name for bench in BENCHES]
    only = [name for name in options.only.split(",") if name]
    unknown = set(only) - set(names)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    options.out.mkdir(parents=True, exist_ok=True)
    rans = []
    for bench in BENCHES:
        if only and bench.name not in only:
            continue
        rans.append(run(bench, options.usual, options.out))
        for line in rans[-1].results:
            print(f"{bench.name}: {line}", flush=True)
    sheet = make_sheet(rans, f"{versions()}; size: {'usual' if options.usual else 'short'}.")
    (options.out / "bench.md").write_text(draw_markdown(sheet), encoding="utf-8")
    (options.out / "bench.csv").write_text(draw_csv(sheet), encoding="utf-8")
    print(f"wrote {options.out / 'bench.md'}")
    sys.exit(any(ran.is_failed for ran in rans))


if __name__ == "__main__":
    main()

"""Markdown tables of several runs of `declutch train`: methods, seeds, levels, intervals, phases.

    python scripts/results_table.py RUNS --protocol strict --methods grpo gcd [--iteration 60]

Run folders are RUNS/<method>_<protocol>_s<seed>. The cold start is iteration 0 of the same runs.
Seeds form the outer level of the bootstrap; differences are paired by game.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from declutch.results import EvalResult, load_result
from declutch.stats import Estimate
from declutch.summary import Row, paired, summarise

PHASES = ("play", "label", "judge", "update", "save")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument("--iteration", type=int, help="default: the last that all runs have")
    options = parser.parse_args()
    folders = {m: find_runs(options.runs, m, options.protocol) for m in options.methods}
    last = options.iteration
    if last is None:
        last = min(max(evaluated(run)) for runs in folders.values() for run in runs)
    results = {m: [load(run, last) for run in runs] for m, runs in folders.items()}
    start = [load(run, 0) for run in next(iter(folders.values()))][:1]
    print(f"Protocol `{options.protocol}`, iteration {last}, seeds: {describe_seeds(folders)}\n")
    print("\n".join(success_table({"cold start": start, **results})), "\n")
    print("\n".join(difference_table(start, results)), "\n")
    print("\n".join(curve_table(folders)), "\n")
    print("\n".join(phase_table(folders)))


def find_runs(runs: Path, method: str, protocol: str) -> list[Path]:
    found = sorted(p for p in runs.glob(f"{method}_{protocol}_s*") if evaluated(p))
    if not found:
        raise SystemExit(f"no run {runs}/{method}_{protocol}_s* has an evaluation")
    return found


def evaluated(run: Path) -> list[int]:
    return sorted(
        int(match[1])
        for file in run.glob("evals/*.json")
        if (match := re.fullmatch(r"iteration_(\d+)\.json", file.name))
    )


def load(run: Path, iteration: int) -> EvalResult:
    return load_result(run / "evals" / f"iteration_{iteration:04d}.json")


def describe_seeds(folders: dict[str, list[Path]]) -> str:
    return ", ".join(
        f"{method} {' '.join(run.name.rpartition('_s')[2] for run in runs)}"
        for method, runs in folders.items()
    )


def success_table(results: dict[str, Sequence[EvalResult]]) -> Iterator[str]:
    names = list(results)
    yield "| level, task type | games | " + " | ".join(f"{name} %" for name in names) + " |"
    yield "|---|---|" + "---|" * len(names)
    rows = {
        name: {(r.level, r.kind): r for r in summarise(*runs)} for name, runs in results.items()
    }
    for level, kind in rows[names[0]]:
        cells = [percent(rows[name][level, kind].success) for name in names]
        title = f"&nbsp;&nbsp;{kind}" if kind else f"**{level}**"
        yield f"| {title} | {rows[names[0]][level, kind].success.n} | " + " | ".join(cells) + " |"


def difference_table(
    start: Sequence[EvalResult], results: dict[str, Sequence[EvalResult]]
) -> Iterator[str]:
    # All seeds start from the same model: each is compared with it.
    pairs = [("cold start", [*start] * len(runs), name, runs) for name, runs in results.items()]
    methods = list(results)
    if len(methods) == 2 and len(results[methods[0]]) == len(results[methods[1]]):
        pairs.append((methods[0], results[methods[0]], methods[1], results[methods[1]]))
    yield "| paired difference, points | L0 | L1 | L2 | mean |"
    yield "|---|---|---|---|---|"
    for before, first, after, second in pairs:
        rows = {r.level: r for r in paired(first, second) if r.kind == ""}
        cells = [points(rows[level].difference) for level in ("L0", "L1", "L2", "mean")]
        yield f"| {after} − {before} | " + " | ".join(cells) + " |"


def curve_table(folders: dict[str, list[Path]]) -> Iterator[str]:
    iterations = sorted({i for runs in folders.values() for run in runs for i in evaluated(run)})
    yield "| run | level | " + " | ".join(f"it. {i}" for i in iterations) + " |"
    yield "|---|---|" + "---|" * len(iterations)
    for runs in folders.values():
        for run in runs:
            scores = {i: totals(load(run, i)) for i in evaluated(run)}
            for level in ("L0", "L1", "L2"):
                cells = [
                    f"{100 * scores[i][level].success.mean:.1f}" if i in scores else ""
                    for i in iterations
                ]
                yield f"| {run.name} | {level} | " + " | ".join(cells) + " |"


def totals(result: EvalResult) -> dict[str, Row]:
    """Level -> its row over all task types."""
    return {row.level: row for row in summarise(result) if row.kind == ""}


def phase_table(folders: dict[str, list[Path]]) -> Iterator[str]:
    yield "| run | iterations | s/iteration | " + " | ".join(f"{p} %" for p in PHASES) + " |"
    yield "|---|---|---|" + "---|" * len(PHASES)
    for runs in folders.values():
        for run in runs:
            rows = [json.loads(line) for line in (run / "metrics.jsonl").open(encoding="utf-8")]
            seconds = [r["time/iteration"] - r.get("time/eval", 0.0) for r in rows]
            shares = [
                100 * sum(r.get(f"time/{p}", 0.0) for r in rows) / sum(seconds) for p in PHASES
            ]
            cells = " | ".join(f"{share:.1f}" for share in shares)
            yield f"| {run.name} | {len(rows)} | {sum(seconds) / len(rows):.1f} | {cells} |"


def percent(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def points(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


if __name__ == "__main__":
    main()

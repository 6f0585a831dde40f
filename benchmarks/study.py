"""What the study of GCD finds, rebuilt from its packed runs: tables and figures.

    OMP_NUM_THREADS=1 python benchmarks/study.py measure RUNS [RUNS ...]
    python benchmarks/study.py pack docs/results/study/runs.tar.xz RUNS [RUNS ...]
    python benchmarks/study.py tables docs/results/study/runs.tar.xz --out docs/results/study \\
        --setting "generated households"
    python benchmarks/study.py arms docs/results/study/arms/*.tar.xz \\
        --out docs/results/study/arms/results.md
    python benchmarks/study.py pool ARCHIVE ARCHIVE
    python benchmarks/study.py coverage [--evaluations 4000] [--runs 16] [--games 14 21 97]

`measure` measures the coupling of kept checkpoints after training, and evaluates GRPO + GCD at the
kept checkpoint that has trained no longer than GRPO's last; what is there already is left alone.
`pack` takes what the tables need from the runs of one or several comparisons: the metrics of every
iteration, every game of every evaluation, and the measured coupling. `tables` writes results.md, a
figure of every seed and one of the curves, each with its data as CSV. `arms` writes one page of the
exploratory arms, a table for each archive.
`pool` prints differences at the last iteration over the settings of several archives together.
`coverage` says how often the intervals used hold the truth with so many runs, and which difference
of two methods so many pairs tell with a power of 80%, for several spreads between runs.
"""

from __future__ import annotations

import argparse
import io
import math
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap, nct, spearmanr
from scipy.stats import t as student

from benchmarks.coverage import coverage_rows
from declutch.compare.coupling import pool
from declutch.compare.grid import Arm, find_runs
from declutch.compare.runs import (
    Comparison,
    TrainedRun,
    picks_at,
    read_comparison,
    success_rows,
    training_seconds,
)
from declutch.config.files import change_config
from declutch.coupling.figure_data import FigureData, Series
from declutch.coupling.figures import write_figures
from declutch.coupling.over_training import CouplingDiagnosis
from declutch.envs.registry import make_suite
from declutch.evaluation.evaluate import evaluate
from declutch.evaluation.intervals import Estimate
from declutch.evaluation.players import evaluation_params, model_player
from declutch.evaluation.results import load_result
from declutch.evaluation.summary import MEAN_LEVEL, paired, summarise
from declutch.models.mode import evaluation_mode
from declutch.report.cells import format_interval, format_percent
from declutch.rollout.policy import load_policy
from declutch.runs.coupling import PAIRS
from declutch.runs.folder import RunFolder, iteration_name

PACKED = ("metrics.jsonl", "evals/*.json", "coupling/*.json")
"""What is packed of a run; its settings name folders of the machine, and stand beside the plan."""
GRPO, GCD, SHUFFLED = Arm("grpo", False), Arm("gcd", True), Arm("gcd_shuffled", True)
NAMES = {GRPO: "GRPO", GCD: "GRPO + GCD", SHUFFLED: "GRPO + GCD, labels shuffled"}
CONTRASTS = ((GRPO, GCD), (SHUFFLED, GCD), (GRPO, SHUFFLED))
LEVELS = ("L0", "L1", "L2", MEAN_LEVEL)
SPREADS = (1.5, 2.0, 2.5, 3.0, 4.0)
"""Standard deviations of the paired difference of two methods, in points of success."""
POWER = 0.8
MEASURED = {"samples": 200, "max_episodes": 256}
"""What coupling is measured with: with the usual 50 steps it is mostly noise here."""
FEWEST_RANKED = 10
"""Runs that a rank correlation needs: with fewer its bootstrap often draws equal ones alone."""
SAVED_EVERY = 5
"""Iterations from one kept checkpoint to the next."""

Rows = list[list[str]]


def measure(folders: Sequence[Path]) -> None:
    """Measure the coupling of all finished runs, then evaluate at equal time.

    Coupling is measured at the last evaluation's iteration and then halfway there, under GRPO and
    GRPO + GCD before the placebo, and there in order of seeds, those of the comparisons in turns.
    """
    comparisons = [read_comparison(folder, find_runs(folder, (), (), ())) for folder in folders]
    last = max(iteration for each in comparisons for iteration in iterations_of(each))
    runs = [
        (run, RunFolder(folder / str(run.id)))
        for folder, comparison in zip(folders, comparisons, strict=True)
        for run in comparison.runs
        if last in run.evaluations
    ]
    place = {
        (folder, seed): number
        for folder, comparison in zip(folders, comparisons, strict=True)
        for number, seed in enumerate(sorted({run.id.seed for run in comparison.runs}))
    }
    runs.sort(key=lambda each: (place[each[1].path.parent, each[0].id.seed], each[0].id.seed))
    for iteration in (last, last // 2):
        for arms in ((GRPO, GCD), (SHUFFLED,)):
            for run, folder in runs:
                if run.id.arm in arms:
                    measure_coupling(folder, iteration)
                    print(f"{run.id}: coupling at iteration {iteration}", flush=True)
    equal = equal_time([run for run, _ in runs], last)
    for run, folder in runs:
        if run.id.arm != GRPO and equal:
            evaluate_at(folder, equal, last)
            print(f"{run.id}: evaluation at iteration {equal}", flush=True)


def measure_coupling(run: RunFolder, iteration: int) -> None:
    if run.coupling_path(iteration).exists():
        return
    config = change_config(run.read_config(), coupling=MEASURED)
    policy = load_policy(run.checkpoint_path(iteration), config)
    diagnosis = CouplingDiagnosis(config, run, make_suite(config.env), print)
    diagnosis.measure(iteration, policy)


def equal_time(runs: Sequence[TrainedRun], last: int) -> int:
    """The kept checkpoint of GRPO + GCD that has trained no longer than GRPO's last.

    Seconds an iteration are medians over runs, which a busy machine moves least.

    Returns:
        its iteration; 0 where the time of either is not known, or it is the last as well.
    """
    seconds = {
        arm: seconds_per_iteration([r for r in runs if r.id.arm == arm]) for arm in (GRPO, GCD)
    }
    if any(map(math.isnan, seconds.values())):
        return 0
    found = int(last * seconds[GRPO] / seconds[GCD] / SAVED_EVERY) * SAVED_EVERY
    return found if found < last else 0


def seconds_per_iteration(runs: Sequence[TrainedRun]) -> float:
    """The median over all iterations of all runs; evaluations are not counted."""
    found = [training_seconds(row) for run in runs for row in run.metrics]
    return float(np.median(found)) if found else math.nan


def evaluate_at(run: RunFolder, iteration: int, like: int) -> None:
    """Evaluate a kept checkpoint as the run evaluated its own iteration `like`."""
    name = iteration_name(iteration)
    if run.evaluation_path(name).exists():
        return
    config = run.read_config()
    suite = make_suite(config.env)
    policy = load_policy(run.checkpoint_path(iteration), config)
    params = evaluation_params(config.env, config.eval, config.gcd)
    protocol = load_result(run.evaluation_path(iteration_name(like))).protocol
    with evaluation_mode(policy.model):
        player = model_player(name, policy, suite, params, protocol)
        run.write_evaluation(name, evaluate(player, suite, config.eval))


def pack(out: Path, folders: Sequence[Path]) -> int:
    """Write what the tables need of all runs in `folders` into one archive; returns their number.

    Equal runs give equal bytes: names are sorted, and nothing of the machine is kept.
    """
    runs = {
        str(run): folder / str(run) for folder in folders for run in find_runs(folder, (), (), ())
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out, "w:xz", preset=9) as archive:
        for name, folder in sorted(runs.items()):
            for path in sorted(path for glob in PACKED for path in folder.glob(glob)):
                content = path.read_bytes()
                entry = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return len(runs)


def read_packed(archive: Path) -> Comparison:
    """The runs of a packed study, as `declutch compare` reads them."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        return read_comparison(Path(folder), find_runs(Path(folder), (), (), ()))


def pairs_at(
    comparison: Comparison, before: Arm, after: Arm, iterations: tuple[int, int]
) -> list[tuple[TrainedRun, TrainedRun]]:
    """Runs of two arms by seed, of those seeds that have an evaluation of either's iteration."""
    first, second = (
        {run.id.seed: run for run in comparison.of(arm) if iteration in run.evaluations}
        for arm, iteration in zip((before, after), iterations, strict=True)
    )
    return [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]


def iterations_of(comparison: Comparison) -> list[int]:
    return sorted({iteration for run in comparison.runs for iteration in run.evaluations})


def points(found: Estimate) -> str:
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean and 95% interval by Student's t over runs."""
    found = pool(values)
    ends = (
        f" [{found.interval[0]:+.{digits}f}, {found.interval[1]:+.{digits}f}]"
        if found.interval
        else ""
    )
    return f"{found.mean:+.{digits}f}{ends}"


def success_table(comparison: Comparison) -> tuple[list[str], Rows]:
    rows = []
    for iteration in iterations_of(comparison):
        for arm, name in NAMES.items():
            picks = picks_at(comparison.of(arm), iteration)
            found = success_rows(picks)
            if found:
                estimates = [found[level, ""] for level in LEVELS]
                cells = [f"{format_percent(e.mean)} {format_interval(e)}" for e in estimates]
                rows.append([str(iteration), name, str(len(picks)), *cells])
    return ["iteration", "method", "runs", *LEVELS], rows


def other_arms(comparison: Comparison) -> list[Arm]:
    """Arms that an amendment of the plan added, by name."""
    return sorted({run.id.arm for run in comparison.runs} - NAMES.keys())


def other_table(comparison: Comparison) -> tuple[list[str], Rows]:
    """The added arms at the last iteration, each less GRPO and GRPO + GCD of the same seeds."""
    return arms_table(comparison, other_arms(comparison), (GRPO, GCD))


def exploratory_table(comparison: Comparison) -> tuple[list[str], Rows]:
    """All arms at the last iteration: each less GRPO, and each with GCD less GRPO + GCD.

    Where GRPO has no run, the arms without GCD take its place.
    """
    arms = sorted({run.id.arm for run in comparison.runs})
    bases = [arm for arm in (GRPO, GCD) if arm in arms] or [arm for arm in arms if not arm.has_gcd]
    rest = [arm for arm in arms if arm not in bases]
    return arms_table(comparison, [*bases, *rest], bases)


def arms_table(
    comparison: Comparison, arms: Sequence[Arm], bases: Sequence[Arm]
) -> tuple[list[str], Rows]:
    """Arms at the last iteration, each less the bases before it in pairs of the same seed.

    An arm without GCD has nothing to do with a base with it.
    """
    last = iterations_of(comparison)[-1]
    rows = []
    for place, arm in enumerate(arms):
        picks = picks_at(comparison.of(arm), last)
        if picks:
            found = success_rows(picks)
            cells = [format_percent(found[level, ""].mean) for level in LEVELS]
            rows.append([name_of(arm), str(len(picks)), *cells])
        for before in bases:
            if before in arms[place:] or before.has_gcd > arm.has_gcd:
                continue
            pairs = pairs_at(comparison, before, arm, (last, last))
            if len(pairs) > 1:
                name = f"{name_of(arm)} − {name_of(before)}"
                rows.append([name, f"{len(pairs)} pairs", *difference_cells(pairs, (last, last))])
    return ["method or difference, points", "runs", *LEVELS], rows


def name_of(arm: Arm) -> str:
    """What tables call an arm: those of the plan in words, others by their files."""
    return NAMES.get(arm, str(arm))


def difference_cells(
    pairs: Sequence[tuple[TrainedRun, TrainedRun]], iterations: tuple[int, int]
) -> list[str]:
    """The difference of paired runs by level, with its interval over runs and games."""
    found = differences_of(pairs, iterations)
    return [points(found[level]) for level in LEVELS]


def differences_of(
    pairs: Sequence[tuple[TrainedRun, TrainedRun]], iterations: tuple[int, int]
) -> dict[str, Estimate]:
    """The difference of paired runs by level."""
    sides = [
        [run.evaluations[iteration] for run in side]
        for side, iteration in zip(zip(*pairs, strict=True), iterations, strict=True)
    ]
    return {row.level: row.difference for row in paired(*sides, by_kind=False)}


def contrast_table(comparison: Comparison) -> tuple[list[str], Rows]:
    last = iterations_of(comparison)[-1]
    wanted = [
        (f"{iteration}", before, after, (iteration, iteration))
        for iteration in iterations_of(comparison)[1:]
        for before, after in CONTRASTS
    ]
    if equal := equal_time(comparison.runs, last):
        wanted.append((f"equal time: {last}, {equal}", GRPO, GCD, (last, equal)))
    rows = []
    for name, before, after, iterations in wanted:
        pairs = pairs_at(comparison, before, after, iterations)
        if len(pairs) > 1:
            cells = difference_cells(pairs, iterations)
            rows.append([name, f"{NAMES[after]} − {NAMES[before]}", str(len(pairs)), *cells])
    return ["iteration", "difference, points", "pairs", *LEVELS], rows


def behaviour_table(comparison: Comparison) -> tuple[list[str], Rows]:
    rows = []
    for iteration in iterations_of(comparison):
        for arm, name in NAMES.items():
            results = [pick.result for pick in picks_at(comparison.of(arm), iteration)]
            for row in summarise(*results, by_kind=False)[:3] if results else ():
                shares = (row.shares.repeated, row.shares.looped, row.shares_failed.looped)
                cells = [f"{100 * share:.1f}" for share in shares]
                rows.append([str(iteration), name, row.level, *cells])
    return [
        "iteration",
        "method",
        "level",
        "repeated, %",
        "looped, %",
        "looped in failures, %",
    ], rows


def coupling_values(
    comparison: Comparison, arm: Arm, iteration: int, pair: str
) -> dict[int, float]:
    """By seed: a cosine of the arm's runs at an iteration; "contrast" is (pp + nn − pn − np)/2."""
    records = {run.id.seed: run.coupling.get(iteration) for run in comparison.of(arm)}
    return {
        seed: record.contrast if pair == "contrast" else record.cosine.of(pair)
        for seed, record in records.items()
        if record
    }


def coupling_iterations(comparison: Comparison) -> list[int]:
    return sorted({iteration for run in comparison.runs for iteration in run.coupling})


def coupling_table(comparison: Comparison) -> tuple[list[str], Rows]:
    rows = []
    for iteration in coupling_iterations(comparison):
        for arm, name in NAMES.items():
            found = [
                coupling_values(comparison, arm, iteration, pair) for pair in (*PAIRS, "contrast")
            ]
            if found[0]:
                records = [
                    run.coupling[iteration]
                    for run in comparison.of(arm)
                    if iteration in run.coupling
                ]
                n = f"{min(r.n for r in records)}–{max(r.n for r in records)}"
                cells = [interval(list(values.values())) for values in found]
                rows.append([str(iteration), name, str(len(found[0])), n, *cells])
        for before, after in CONTRASTS:
            cells, count = [], 0
            for pair in (*PAIRS, "contrast"):
                one, two = (
                    coupling_values(comparison, arm, iteration, pair) for arm in (before, after)
                )
                differences = [two[seed] - one[seed] for seed in sorted(one.keys() & two.keys())]
                count = len(differences)
                cells.append(interval(differences) if count > 1 else "–")
            if count > 1:
                name = f"{NAMES[after]} − {NAMES[before]}"
                rows.append([str(iteration), name, str(count), "", *cells])
    return ["iteration", "method or difference", "runs", "n", *PAIRS, "(pp + nn − pn − np)/2"], rows


def prediction_table(comparison: Comparison) -> tuple[list[str], Rows]:
    """Does a run's coupling at an iteration go with what its held-out success does afterwards?"""
    rows = []
    last = iterations_of(comparison)[-1]
    for iteration in coupling_iterations(comparison):
        for arms, name in (
            (tuple(NAMES), "all runs"),
            *(((arm,), text) for arm, text in NAMES.items()),
        ):
            found = [
                (
                    run.coupling[iteration].contrast,
                    level_success(run, last) - level_success(run, iteration),
                )
                for arm in arms
                for run in comparison.of(arm)
                if iteration in run.coupling and {iteration, last} <= run.evaluations.keys()
            ]
            data = np.array([pair for pair in found if not any(map(math.isnan, pair))])
            if iteration == last or len(data) < FEWEST_RANKED:
                continue
            rho = float(spearmanr(data[:, 0], data[:, 1]).statistic)
            ends = bootstrap(
                (data[:, 0], data[:, 1]),
                lambda x, y: spearmanr(x, y).statistic,
                paired=True,
                vectorized=False,
                n_resamples=2000,
                method="percentile",
                rng=np.random.default_rng(0),
            ).confidence_interval
            rows.append(
                [
                    str(iteration),
                    name,
                    str(len(data)),
                    f"{rho:+.2f} [{ends.low:+.2f}, {ends.high:+.2f}]",
                ]
            )
    return [
        "coupling at iteration",
        "runs of",
        "n",
        "rank correlation with the change of L2 until the end",
    ], rows


def level_success(run: TrainedRun, iteration: int, level: str = "L2") -> float:
    return success_rows(picks_at((run,), iteration))[level, ""].mean


def judge_table(comparison: Comparison) -> tuple[list[str], Rows]:
    """The share of the judge's answers that are right by the oracle's labels, at both ends."""
    rows = []
    for arm in (GCD, SHUFFLED):
        runs = [run for run in comparison.of(arm) if run.metrics]
        for first in sorted({0, max((len(run.metrics) for run in runs), default=10) - 10}):
            found = [
                100
                * float(
                    np.mean(
                        [
                            float(row["judge/accuracy"] or 0)
                            for row in run.metrics[first : first + 10]
                        ]
                    )
                )
                for run in runs
                if len(run.metrics) >= first + 10 >= 10
            ]
            if found:
                rows.append(
                    [
                        NAMES[arm],
                        f"{first + 1} to {first + 10}",
                        str(len(found)),
                        interval(found, 1).replace("+", ""),
                    ]
                )
    return ["method", "iterations", "runs", "right answers, %"], rows


def time_table(comparison: Comparison) -> tuple[list[str], Rows]:
    rows = []
    for arm, name in NAMES.items():
        runs = [run for run in comparison.of(arm) if run.metrics]
        if runs:
            rows.append([name, str(len(runs)), f"{seconds_per_iteration(runs):.2f}"])
    return ["method", "runs", "seconds of an iteration (median; evaluations not counted)"], rows


TABLES: dict[str, Callable[[Comparison], tuple[list[str], Rows]]] = {
    "Success, % [95% interval over runs and games]": success_table,
    "Differences, paired by seed and game": contrast_table,
    "Exploratory: arms added later, at the last iteration": other_table,
    "Coupling: cosines of mean gradients [95% interval over runs]": coupling_table,
    "Does coupling foretell what happens to L2?": prediction_table,
    "Behaviour": behaviour_table,
    "The judge": judge_table,
    "Cost": time_table,
}


def seed_figure(comparison: Comparison, command: str) -> FigureData:
    """A figure of every seed: success at the last evaluation, one point a run, levels apart."""
    last = iterations_of(comparison)[-1]
    series = []
    for number, (arm, name) in enumerate(NAMES.items()):
        runs = [run for run in comparison.of(arm) if last in run.evaluations]
        places = [
            place + 0.25 * (number - 1) + 0.012 * (index - len(runs) / 2)
            for place in range(3)
            for index in range(len(runs))
        ]
        values = [100 * level_success(run, last, level) for level in LEVELS[:3] for run in runs]
        if runs:
            series.append(Series(name, places, values))
    return FigureData(
        name="every_seed",
        kind="points",
        title=f"Success of every run at iteration {last}",
        caption="A point is a training run, in order of seeds. L2 has held-out task types.",
        command=command,
        x_label="level: 0 is L0, 1 is L1, 2 is L2",
        y_label="success, %",
        series=tuple(series),
    )


def curve_figure(comparison: Comparison, command: str) -> FigureData:
    """A figure of learning curves: the mean over runs of success on L0 and on held-out L2."""
    series = []
    for arm, name in NAMES.items():
        for level, style in (("L0", "dashed"), ("L2", "")):
            found = [
                (iteration, success_rows(picks_at(comparison.of(arm), iteration)))
                for iteration in iterations_of(comparison)
            ]
            estimates = [(i, rows[level, ""]) for i, rows in found if rows]
            if estimates:
                series.append(
                    Series(
                        f"{name}, {level}",
                        [i for i, _ in estimates],
                        [100 * e.mean for _, e in estimates],
                        style=style,  # type: ignore[arg-type]
                    )
                )
    return FigureData(
        name="curves",
        kind="lines",
        title="Success on the trained type (L0) and on held-out types (L2)",
        caption="Means over runs; their intervals are in results.md.",
        command=command,
        x_label="iteration",
        y_label="success, %",
        series=tuple(series),
    )


def render(comparison: Comparison, setting: str) -> str:
    """The text of results.md, the tables of one setting."""
    counts = ", ".join(f"{name} {len(comparison.of(arm))}" for arm, name in NAMES.items())
    parts = [f"# The study's results: {setting}\n\nRuns: {counts}."]
    made = {title: make(comparison) for title, make in TABLES.items()}
    parts += [f"## {title}\n\n{draw(*table)}" for title, table in made.items() if table[1]]
    return "\n\n".join(parts) + "\n"


def tables(archive: Path, out: Path, setting: str) -> str:
    """Write results.md and the figures; returns the text."""
    comparison = read_packed(archive)
    text = render(comparison, setting)
    command = f'python benchmarks/study.py tables {archive} --out {out} --setting "{setting}"'
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.md").write_text(text, "utf-8")
    write_figures(out, (seed_figure(comparison, command), curve_figure(comparison, command)))
    return text


def render_arms(archives: Sequence[Path]) -> str:
    """The text of the page of exploratory arms: a table for each archive, named by its file."""
    parts = [
        "# Exploratory arms of the study\n\nGenerated households, but for those called real games. "
        "What the arms are is in [the plan](../plan.md#amendments). 95% intervals over runs and "
        "games, none of them corrected for their number."
    ]
    for archive in archives:
        title = archive.name.split(".")[0].replace("_", " ").capitalize()
        parts.append(f"## {title}\n\n{draw(*exploratory_table(read_packed(archive)))}")
    return "\n\n".join(parts) + "\n"


def draw(header: Sequence[str], rows: Rows) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pooled(comparisons: Sequence[Comparison]) -> tuple[list[str], Rows]:
    """The differences at the last iteration over several settings, weighted by their precision."""
    rows = []
    for before, after in CONTRASTS:
        found = []
        for comparison in comparisons:
            last = iterations_of(comparison)[-1]
            pairs = pairs_at(comparison, before, after, (last, last))
            found.append(differences_of(pairs, (last, last)))
        cells = [points(pool_estimates([each[level] for each in found])) for level in LEVELS]
        rows.append([f"{NAMES[after]} − {NAMES[before]}", *cells])
    return ["difference over settings, points", *LEVELS], rows


def pool_estimates(found: Sequence[Estimate]) -> Estimate:
    """Independent estimates as one: each weighs by the inverse square of its half-width."""
    halves = np.array([(each.high - each.low) / 2 for each in found])
    weights = halves**-2 / (halves**-2).sum()
    mean = float(weights @ [each.mean for each in found])
    half = float((halves**-2).sum() ** -0.5)
    return replace(found[0], mean=mean, low=mean - half, high=mean + half)


def detectable(spread: float, num_pairs: int) -> float:
    """The difference, in the unit of `spread`, that a paired t-test tells with a power of 80%.

    Args:
        spread: standard deviation of the paired difference.
    """
    critical = student.ppf(0.975, num_pairs - 1)
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if nct.sf(critical, num_pairs - 1, middle) < POWER:
            low = middle
        else:
            high = middle
    return float(high * spread / math.sqrt(num_pairs))


def coverage(
    num_evaluations: int, num_runs: int, seed: int, num_games: Sequence[int]
) -> Iterator[str]:
    yield "| spread between runs, logits | runs | paired interval holds the truth, % ±half-width |"
    yield "|---:|---:|---:|"
    for spread, count, found in coverage_rows(num_evaluations, seed, (num_runs,), num_games):
        yield f"| {spread:.1f} | {count} | {found['paired']} |"
    yield ""
    yield "| standard deviation of the paired difference, points | difference told, points |"
    yield "|---:|---:|"
    for points_ in SPREADS:
        yield f"| {points_:.1f} | {detectable(points_, num_runs):.2f} |"


def main() -> None:
    """Pack runs, or write tables, or print coverage and power."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="measure kept checkpoints after training")
    measuring.add_argument("folders", type=Path, nargs="+", help="folders of comparisons")
    packing = commands.add_parser("pack", help="put what the tables need of runs into one archive")
    packing.add_argument("archive", type=Path)
    packing.add_argument("folders", type=Path, nargs="+", help="folders of comparisons")
    tabling = commands.add_parser("tables", help="write tables and figures from the archive")
    tabling.add_argument("archive", type=Path)
    tabling.add_argument("--out", type=Path, required=True)
    tabling.add_argument("--setting", required=True, help="what the heading calls it")
    arming = commands.add_parser("arms", help="write the page of exploratory arms")
    arming.add_argument("archives", type=Path, nargs="+")
    arming.add_argument("--out", type=Path, required=True)
    pooling = commands.add_parser("pool", help="print differences over several settings together")
    pooling.add_argument("archives", type=Path, nargs="+")
    covering = commands.add_parser("coverage", help="coverage of the intervals, and power")
    covering.add_argument("--evaluations", type=int, default=4000, help="simulated per row")
    covering.add_argument("--runs", type=int, default=16)
    covering.add_argument(
        "--games", type=int, nargs=3, default=(), metavar="N", help="of L0, L1 and L2"
    )
    covering.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.folders)
    elif options.command == "pack":
        print(f"{pack(options.archive, options.folders)} runs in {options.archive}")
    elif options.command == "tables":
        print(tables(options.archive, options.out, options.setting))
    elif options.command == "arms":
        text = render_arms(options.archives)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, "utf-8")
        print(text)
    elif options.command == "pool":
        print(draw(*pooled([read_packed(archive) for archive in options.archives])))
    else:
        for line in coverage(options.evaluations, options.runs, options.seed, options.games):
            print(line, flush=True)


if __name__ == "__main__":
    main()

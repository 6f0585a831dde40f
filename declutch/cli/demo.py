"""`declutch demo`: every stage of the main job, one after another.

The cold start has an honest control: the same supervised training goes on, on another core, for
as long as the reinforcement learning takes. That time is read from the run's own record, so that it
is the same for a demo that was interrupted; and both times are printed beside the results.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.rule import Rule

from declutch.cli.interrupt import tell_when_interrupted
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console as terminal
from declutch.cli.terminal import show, warn
from declutch.ground.children import end_with_parent
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

    from rich.console import Console

    from declutch.cold_start.sft import SFTProgress
    from declutch.config.run import Config
    from declutch.envs.protocol import Suite
    from declutch.evaluation.results import EvalResult
    from declutch.runs.folder import RunFolder


LEAST_SHARE = 0.95
"""The share of the time of GRPO + GCD that the control must have had to be compared with it."""


@grouped
def demo_command(
    out: Annotated[
        Path | None,
        typer.Argument(
            help="The folder of the demo's models, demonstrations and run; runs/NAME for the "
            "settings NAME if it is left out.",
            show_default=False,
        ),
    ] = None,
    *,
    given: GivenSettings,
) -> None:
    """Go the demo's whole path on the suite: cold start, GRPO + GCD, evaluation, report.

    Without --config it takes the preset `demo`.
    """
    files = given.config or [Path("demo")]
    settings = replace(given, config=files).load()
    place = out or Path("runs") / files[-1].stem

    from declutch.runs.lock import hold_folder

    with hold_folder(place, "declutch demo", "tiny|cold_start|control", say=terminal.print):
        run_demo(settings, place, terminal)


def run_demo(config: Config, out: Path, console: Console) -> None:
    """Run `declutch demo`, from cold start to report; finished stages are not repeated.

    Args:
        config: what is to be done; the stages set `model.path` and `threads`.
        out: receives the models, the demonstrations and the run.
    Raises:
        UserError: `out` holds a demo of another configuration; several processes.
    """
    if config.processes > 1:
        raise UserError(
            f"processes={config.processes}: the demo's control trains for as long as the run, in "
            "one process, so that the comparison is fair only with processes=1"
        )
    from declutch.cold_start.pipeline import make_cold_start
    from declutch.config.files import change_config
    from declutch.envs.protocol import check_levels
    from declutch.envs.registry import make_suite
    from declutch.report.build import build_report
    from declutch.report.progress import reported_stage
    from declutch.runs.claims import claim
    from declutch.runs.folder import CONTROL, RunFolder
    from declutch.runs.resume import clean_up

    began = time.perf_counter()
    run = RunFolder(out / "run")
    tell_when_interrupted(lambda: describe_stages(out, run, config.train.iterations))
    claim(out / "demo.yaml", config)
    stage = partial(reported_stage, console)
    with stage(config.env.suite) as report:
        suite = make_suite(config.env, report)
    check_levels(suite, config.eval.levels)
    cold, demonstrations = make_cold_start(config, suite, out, stage, warn)
    trained = change_config(config, threads=1, model={"path": str(cold)})
    clean_up(run)
    if run.iterations_saved() < trained.train.iterations or not (out / CONTROL).exists():
        with _more_sft(trained, demonstrations, out / CONTROL, run):
            _reinforce(trained, run, suite, console)
    result = _evaluate_control(trained, out / CONTROL, suite, console)
    run.write_evaluation(CONTROL, result)
    _show(run, trained, result, console)
    console.print(f"report: {build_report(run.path)}", soft_wrap=True)
    console.print(f"the demo took {(time.perf_counter() - began) / 60:.1f} minutes")


def describe_stages(out: Path, run: RunFolder, iterations: int) -> str:
    """`declutch demo`: what is saved of a demo that was interrupted, and how it goes on."""
    stages = {"tiny": "the fresh model", "demonstrations.jsonl": "the demonstrations"}
    stages["cold_start"] = "the cold start"
    there = [what for name, what in stages.items() if (out / name).exists()]
    if run.iterations_saved():
        there.append(f"{run.iterations_saved()} of {iterations} iterations")
    saved = f"{', '.join(there)} are kept in {out}" if there else "nothing is saved yet"
    return f"{saved}; the same command goes on from there"


def _reinforce(config: Config, run: RunFolder, suite: Suite, console: Console) -> None:
    from declutch.coupling.over_training import CouplingDiagnosis
    from declutch.report.live import TrainWatcher
    from declutch.train.loop import train
    from declutch.train.session import evaluated_iterations

    run.write_config(config)
    console.print(Rule("reinforcement learning: GRPO + GCD", align="left"))
    evaluated = evaluated_iterations(config)
    with TrainWatcher(
        config.train.iterations,
        "demo",
        start=run.iterations_saved(),
        evaluated=evaluated,
        console=console,
    ) as watcher:
        train(config, run, suite, watcher, CouplingDiagnosis(config, run, suite, watcher.note))


@contextmanager
def _more_sft(config: Config, demonstrations: Path, out: Path, run: RunFolder) -> Iterator[None]:
    """Continue the supervised training in a process of its own while the block trains `run`.

    It goes on until it has trained for as long as the run, whatever was interrupted on the way.
    """
    context = multiprocessing.get_context("spawn")
    wanted = context.Value("d", math.inf)
    process = context.Process(target=_run_control, args=(config, demonstrations, out, wanted))
    process.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    else:
        wanted.value = _seconds_spent(run)
    finally:
        process.join()
    if process.exitcode:
        raise UserError(f"the control's process ended with status {process.exitcode}")


def _seconds_spent(run: RunFolder) -> float:
    """How long the reinforcement learning took that is not done again, evaluations included."""
    from declutch.evaluation.results import load_result
    from declutch.runs.catalogue import key_of
    from declutch.runs.folder import iteration_name
    from declutch.runs.read import read_metrics

    rows = read_metrics(run, [])[: run.iterations_saved()]
    spent = sum(row.get(key_of("time", "iteration")) or 0.0 for row in rows)
    first = run.evaluation_path(iteration_name(0))
    return spent + ((load_result(first).seconds or 0.0) if first.exists() else 0.0)


def _run_control(
    config: Config, demonstrations: Path, out: Path, wanted: Synchronized[float]
) -> None:
    end_with_parent()
    from declutch.cold_start.pipeline import run_sft

    spent = 0.0

    def count(progress: SFTProgress) -> None:
        nonlocal spent
        spent = progress.seconds

    run_sft(config, demonstrations, out, count, should_stop=lambda: spent >= wanted.value)


def _evaluate_control(config: Config, model: Path, suite: Suite, console: Console) -> EvalResult:
    from declutch.cold_start.facts import read_cold_start
    from declutch.evaluation.evaluate import evaluate, num_games
    from declutch.evaluation.players import evaluation_params, model_player
    from declutch.report.progress import Counter
    from declutch.rollout.policy import load_policy

    console.print(Rule("control: more supervised training of the same time", align="left"))
    settings = config.eval
    total = num_games(settings, suite)
    with Counter("evaluating", total, console=console) as counter:
        player = model_player(
            "more SFT",
            load_policy(model, config),
            suite,
            replace(evaluation_params(config.env, settings, config.gcd), oracle_every=0),
            read_cold_start(model).protocol,
            lambda _: counter.advance(),
        )
        return evaluate(player, suite, settings)


def _show(run: RunFolder, config: Config, control: EvalResult, console: Console) -> None:
    from declutch.cold_start.facts import read_cold_start
    from declutch.evaluation.results import has_partial_scores, load_result
    from declutch.report.headers import describe_level
    from declutch.report.tables import gain_sheet, paired_sheet, result_sheet
    from declutch.runs.folder import CONTROL, iteration_name

    first, last = (
        load_result(run.evaluation_path(iteration_name(iteration)))
        for iteration in (0, config.train.iterations)
    )
    before, after = replace(first, policy="cold start"), replace(last, policy="GRPO + GCD")
    console.print(Rule("success by task type, before and after", align="left"))
    title = f"success, % (cold start: protocol {before.protocol})"
    sheets = [paired_sheet(before, after), gain_sheet(before, after, control, title)]
    if has_partial_scores(after.games):
        sheets += [result_sheet(before), result_sheet(after)]
    show(sheets, console)
    levels = [f"{level}: {describe_level(level, after.suite)}." for level in after.levels]
    times = describe_times(_seconds_spent(run), read_cold_start(run.path.parent / CONTROL).seconds)
    console.print(f"{' '.join(levels)}\n{times}", style="dim")


def describe_times(trained: float, control: float) -> str:
    """`declutch demo`: say whether the control had the time of what it is compared with.

    Args:
        trained, control: seconds of GRPO + GCD and of the control.
    """
    from declutch.runs.folder import CONTROL

    times = f"GRPO + GCD took {trained:.0f} s, and the control {control:.0f} s"
    if control < LEAST_SHARE * trained:
        return (
            f"{times}: the control had less time, and its row is no fair comparison. Delete its "
            f"folder {CONTROL!r} and give the same command again to train it anew."
        )
    return f"{times} of more supervised training."

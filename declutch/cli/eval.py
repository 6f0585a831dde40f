"""`declutch eval`: a policy on every game of the levels, and what it says of its own steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console, held, open_suite, show, warn
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from declutch.config.run import Config
    from declutch.envs.protocol import Suite
    from declutch.evaluation.results import EvalResult
    from declutch.report.progress import Counter
    from declutch.report.sheet import Sheet


@dataclass(frozen=True)
class EvalSettings(GivenSettings):
    """Options of `declutch eval`: settings, with short forms for those that often change."""

    levels: Annotated[
        list[str] | None,
        typer.Option(
            "--levels", help="Levels to play, such as L0,L1,L2; short for eval.levels=[L0,L1,L2]."
        ),
    ] = None
    seeds: Annotated[
        list[str] | None,
        typer.Option("--seeds", help="Evaluation seeds, such as 0,1; short for eval.seeds=[0,1]."),
    ] = None
    max_games: Annotated[
        int | None,
        typer.Option(
            help="Play the first N games of a level's fixed shuffled order; short for "
            "eval.max_games=N.",
            metavar="N",
        ),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(help="Sampling temperature T; short for eval.temperature=T.", metavar="T"),
    ] = None

    SHORT_FORMS: ClassVar[Mapping[str, str]] = {
        "levels": "eval.levels",
        "seeds": "eval.seeds",
        "max_games": "eval.max_games",
        "temperature": "eval.temperature",
    }
    REMOVED: ClassVar[Mapping[str, str]] = {
        "--judge": "the setting eval.judge=true",
        "--judge-steps": "the settings eval.judge=true eval.judge_steps=N",
    }


@grouped
def eval_command(
    policy: Annotated[
        str, typer.Argument(help="A model folder, a hub name, or one of expert and random.")
    ],
    given: EvalSettings,
    out: Annotated[Path | None, typer.Option(help="A JSON file to write the result to.")] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="An earlier result; the paired difference from it is printed, too."),
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option(
            help="A model folder or hub name that judges the steps of POLICY in its place; this "
            "sets eval.judge=true."
        ),
    ] = None,
) -> None:
    """Play every game of --levels exactly once per seed and print success with 95% intervals.

    With eval.judge=true, POLICY also judges steps it has just played, and its accuracy is printed.
    """
    settings = given.load(*(["eval.judge=true"] if judge_model is not None else []))

    from declutch.evaluation.players import SCRIPTED
    from declutch.evaluation.results import load_result, save_result
    from declutch.models.find import find_model

    before = load_result(compare) if compare else None
    for model in (policy, judge_model):
        if model is not None and model not in SCRIPTED:
            find_model(model)
    with held(out, "declutch eval"):
        suite = open_suite(settings)
        result = run_eval(settings, suite, policy, judge_model, console)
        show_eval(result, before, console)
        if policy not in SCRIPTED:
            _warn_of_chance(result, suite, settings)
        if out is not None:
            save_result(result, out)
            console.print(f"written to {out}")


def _warn_of_chance(result: EvalResult, suite: Suite, settings: Config) -> None:
    from declutch.evaluation.random_play import compare_with_random

    note = compare_with_random(result, suite, settings.eval)
    if note:
        warn(note)


def run_eval(
    config: Config, suite: Suite, policy: str, judge_model: str | None, console: Console
) -> EvalResult:
    """Evaluate a policy for `declutch eval`, with a progress bar.

    Args:
        policy: model folder or hub name, or one of `SCRIPTED`.
        judge_model: who judges where `config.eval.judge` asks for it; None for the policy itself.
    Raises:
        UserError: no games, no such model, steps that nobody can label or judge.
    """
    from declutch.evaluation.evaluate import evaluate, num_games
    from declutch.evaluation.exam import num_answers
    from declutch.evaluation.players import SCRIPTED, scripted_player
    from declutch.judge.labels import check_labels
    from declutch.report.progress import Counter

    total = num_games(config.eval, suite)
    if config.eval.judge:
        check_labels(config.gcd, suite)
        if policy in SCRIPTED:
            raise UserError(
                "eval.judge=true judges a model's own steps, its words included, and the scripted "
                f"policy {policy!r} has none; name a model or set eval.judge=false"
            )
        total += num_answers(config.eval)
    with Counter(f"evaluating {policy}", total, console=console) as counter:
        if policy in SCRIPTED:
            player = scripted_player(
                policy, suite, config.env.max_steps, lambda _: counter.advance()
            )
            return evaluate(player, suite, config.eval)
        return _evaluate_model(config, suite, policy, judge_model, counter)


def _evaluate_model(
    config: Config, suite: Suite, name: str, judge_model: str | None, counter: Counter
) -> EvalResult:
    from declutch.cold_start.facts import read_cold_start
    from declutch.evaluation.evaluate import evaluate
    from declutch.evaluation.exam import Examiner
    from declutch.evaluation.players import evaluation_params, model_player
    from declutch.rollout.policy import load_policy

    policy = load_policy(name, config)
    player = model_player(
        f"{name} + reflection" if config.eval.reflection else name,
        policy,
        suite,
        evaluation_params(config.env, config.eval, config.gcd),
        read_cold_start(name).protocol,
        lambda _: counter.advance(),
    )
    examiner = None
    if config.eval.judge:
        judge = load_policy(judge_model, config) if judge_model else policy
        examiner = Examiner(
            policy, judge, judge_model or name, config.eval, config.gcd, counter.advance
        )
    return evaluate(player, suite, config.eval, examiner)


def show_eval(result: EvalResult, before: EvalResult | None, console: Console) -> None:
    """`declutch eval`: print the tables of a result, and the difference from an earlier one."""
    show(eval_sheets(result, before), console)


def eval_sheets(result: EvalResult, before: EvalResult | None) -> list[Sheet]:
    """What `declutch eval` prints at its end, as tables: success, behaviour, judging."""
    from declutch.evaluation.summary import summarise
    from declutch.report.headers import describe_header
    from declutch.report.tables import behaviour_sheet, judge_sheet, paired_sheet, result_sheet

    named = {result.policy: summarise(result)}
    behaviour = behaviour_sheet(named, "behaviour by outcome", describe_header([result]))
    sheets = [result_sheet(result), behaviour]
    if result.judge is not None:
        sheets.append(judge_sheet(result, result.judge))
    if before is not None:
        sheets.append(paired_sheet(before, result))
    return sheets

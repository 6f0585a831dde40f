"""`declutch eval`: a policy on every game of the levels, and what it says of its own steps."""

from __future__ import annotations

from rich.console import Console

from declutch.cold_start.facts import read_cold_start
from declutch.config.run import Config
from declutch.envs.protocol import Suite
from declutch.errors import UserError
from declutch.evaluation.evaluate import evaluate, num_games
from declutch.evaluation.exam import Examiner, num_answers
from declutch.evaluation.players import (
    SCRIPTED,
    evaluation_params,
    model_player,
    scripted_player,
)
from declutch.evaluation.results import EvalResult
from declutch.judge.labels import check_labels
from declutch.report.progress import Counter
from declutch.report.tables import behaviour_table, judge_table, paired_table, result_table
from declutch.rollout.policy import load_policy


def run_eval(
    config: Config, suite: Suite, policy: str, judge_model: str | None, console: Console
) -> EvalResult:
    """Evaluate as `config.eval` says, with a progress bar.

    Args:
        policy: model folder or hub name, or one of `SCRIPTED`.
        judge_model: who judges where `config.eval.judge` asks for it; None for the policy itself.
    Raises:
        UserError: no games, no such model, steps that nobody can label or judge.
    """
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
    """Print the tables, and the paired difference from an earlier result."""
    console.print(result_table(result))
    console.print(behaviour_table(result))
    if result.judge is not None:
        console.print(judge_table(result, result.judge))
    if before is not None:
        console.print(paired_table(before, result))

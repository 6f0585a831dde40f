"""What tables of evaluations say above their numbers: policies, protocol, temperature, levels."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.envs.registry import level_meaning
from declutch.evaluation.exam_results import JudgeResult
from declutch.evaluation.results import EvalResult
from declutch.evaluation.summary import MEAN_LEVEL
from declutch.report.cells import DASH, format_number


def describe_level(level: str, suite: str) -> str:
    """Words of table headers for a level of a suite: which games it holds; "" for one's own."""
    if level == MEAN_LEVEL:
        return "unweighted mean of L0, L1, L2"
    return level_meaning(suite, level)


def describe_header(runs: Sequence[EvalResult]) -> str:
    """Header line of an evaluation's table: the policy, how it was evaluated, number of plays."""
    policies = list(dict.fromkeys(run.policy for run in runs))
    plays = sum(game.is_counted for run in runs for game in run.games)
    parts = [", ".join(policies), describe_setting(runs), f"{plays} plays, n = games"]
    if len(runs) > 1:
        parts.append(f"{len(runs)} training runs")
    return " · ".join(parts)


def describe_setting(runs: Sequence[EvalResult]) -> str:
    """Words of table headers on how policies were evaluated: protocol, temperature, seeds, ..."""
    first = runs[0]
    seeds = sorted({seed for run in runs for seed in run.seeds})
    parts = [
        f"protocol {first.protocol}" if first.protocol else "no cold start",
        f"temperature {format_number(first.temperature)}",
        f"evaluation seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds)) or DASH}",
    ]
    if first.max_steps is not None:
        parts.append(f"at most {first.max_steps} steps")
    return " · ".join(parts)


def describe_judging(result: EvalResult, judge: JudgeResult) -> str:
    """Header of judging tables: who judged whose steps, at which temperature, by which labels."""
    steps = "its own steps" if judge.judge == result.policy else f"the steps of {result.policy}"
    temperature = format_number(judge.temperature)
    return f"{judge.judge} judges {steps} at temperature {temperature}, {judge.labels} labels"

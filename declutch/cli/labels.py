"""`declutch labels`: the sources of labels on a policy's own steps, beside each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console as terminal
from declutch.cli.terminal import held, open_suite, show
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from declutch.config.run import Config
    from declutch.endpoint.chat import ChatRequest
    from declutch.endpoint.usage import Usage
    from declutch.envs.protocol import Suite
    from declutch.judge.llm_labels import BallotStats
    from declutch.rollout.policy import Policy

_NUM_EXAMPLES = 2


@dataclass(frozen=True)
class LabelJob:
    """Options of `declutch labels`: which steps it labels, and what it does with the numbers."""

    split: Annotated[str, typer.Option(help="The split or level to play.")] = "rl-train"
    num_steps: Annotated[
        int,
        typer.Option("--steps", min=1, help="How many steps the rule and the oracle label."),
    ] = 2000
    llm_steps: Annotated[
        int,
        typer.Option(
            "--llm-steps", min=0, help="About how many of these steps the endpoint is asked."
        ),
    ] = 0
    is_dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Ask nothing; print example prompts and an estimate."),
    ] = False
    out: Annotated[Path | None, typer.Option(help="A JSON file to write the numbers to.")] = None


@grouped
def labels_command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a hub name.")],
    given: GivenSettings,
    job: LabelJob,
) -> None:
    """Label steps that MODEL played, by every source, and say how the sources agree.

    A run folder stands for its last checkpoint and brings its own settings.
    """
    from declutch.config.files import override_config
    from declutch.rollout.policy import load_policy
    from declutch.runs.folder import RunFolder

    run = RunFolder(Path(model))
    last = run.last_checkpoint()
    if last is not None and run.has_started() and not given.config:
        settings = override_config(run.read_config(), given.items, str(run.path))
    else:
        settings = given.load()
    with held(job.out, "declutch labels"):
        policy = load_policy(last or model, settings)
        run_labels(policy, settings, open_suite(settings), job, terminal)


def run_labels(
    policy: Policy, config: Config, suite: Suite, job: LabelJob, console: Console
) -> None:
    """`declutch labels`: play, label, and print how sources agree, or what would be asked.

    Raises:
        UserError: no such split, an endpoint that is not named or is away.
    """
    from declutch.endpoint.client import open_endpoint
    from declutch.envs.protocol import wording_of
    from declutch.evaluation.label_sources import (
        compare_sources,
        first_steps,
        play_steps,
        report_data,
    )
    from declutch.ground.files import write_atomically
    from declutch.ground.streams import stream
    from declutch.judge.llm_labels import AskSettings, build_requests, label_by_llm
    from declutch.judge.questions import spread_steps
    from declutch.report.tables import label_sheet
    from declutch.rollout.collect import CollectParams

    params = CollectParams(
        max_steps=config.env.max_steps, temperature=config.rollout.temperature, oracle_every=1
    )
    episodes = play_steps(policy, suite, job.split, job.num_steps, params, config.seed)
    draw = stream(config.seed, "llm-steps")
    steps = spread_steps(first_steps(episodes, job.num_steps), job.llm_steps, draw)
    wording = wording_of(suite)
    asking = AskSettings(config.gcd, config.agent, wording)
    if job.is_dry_run:
        requests = build_requests(episodes, steps, asking)
        _show_dry_run(requests, config, console)
        return
    chat = open_endpoint(config.endpoint) if steps else None
    asked = label_by_llm(episodes, steps, asking, chat) if chat else None
    if asked is not None and asked.failure:
        raise UserError(
            f"most asks of endpoint.model={config.endpoint.model} got no answer ({asked.failure}); "
            "the answers there were are kept, so that the same command goes on from them"
        )
    report = compare_sources(
        episodes, job.num_steps, config.gcd, wording, asked, chat.usage if chat else None
    )
    show([label_sheet(report, f"{job.split}, seed {config.seed}")], console)
    if report.ballots is not None and report.usage is not None:
        console.print(_describe_asks(report.ballots, report.usage), highlight=False)
    if job.out is not None:
        write_atomically(job.out, json.dumps(report_data(report), indent=1) + "\n")
        console.print(f"written to {job.out}")


def estimate_usage(requests: Sequence[ChatRequest], config: Config) -> Usage:
    """`declutch labels --dry-run`: estimate the calls, tokens and cost of asking an endpoint.

    The tokens of prompts are counted roughly.
    """
    from declutch.endpoint.usage import Usage, bound_usage

    return sum((bound_usage(request, config.endpoint) for request in requests), Usage())


def _show_dry_run(requests: Sequence[ChatRequest], config: Config, console: Console) -> None:
    from rich.rule import Rule

    from declutch.endpoint.client import open_endpoint

    asks = config.gcd.llm_asks
    for number, request in enumerate(requests[::asks][:_NUM_EXAMPLES], start=1):
        console.print(Rule(f"example prompt {number}, asked {asks} times"))
        for _, content in request.messages:
            console.print(escape(content), highlight=False)
    console.print(Rule("estimate"))
    usage = estimate_usage(requests, config)
    lines = [f"{len(requests) // asks} steps: {_describe_usage(usage, config)}"]
    if requests:
        share = config.gcd.llm_steps * asks / len(requests)
        calls = config.gcd.llm_steps * asks
        lines.append(
            f"training on them, gcd.llm_steps={config.gcd.llm_steps} per iteration: {calls} calls, "
            f"about {usage.prompt_tokens * share:,.0f} prompt tokens an iteration, "
            f"{calls * config.train.iterations:,} calls in train.iterations="
            f"{config.train.iterations}"
        )
    if config.endpoint.model and config.endpoint.base_url:
        cached = open_endpoint(config.endpoint).count_cached(requests)
        lines.append(f"{cached} of these calls would be answered from the cache")
    console.print("\n".join(lines), highlight=False)


def _describe_usage(usage: Usage, config: Config) -> str:
    text = (
        f"{usage.calls:,} calls, about {usage.prompt_tokens:,} prompt tokens and at most "
        f"{usage.completion_tokens:,} tokens of replies"
    )
    if config.endpoint.prompt_price + config.endpoint.completion_price:
        text += f", which cost {usage.cost:.2f} at most"
    return text


def _describe_asks(stats: BallotStats, usage: Usage) -> str:
    from declutch.report.cells import DASH

    agreement = DASH if stats.agreement is None else _percent(stats.agreement)
    return (
        f"endpoint: {stats.asks} asks about {stats.steps} steps, {stats.kept} labels kept; "
        f"{stats.unreadable} verdicts unreadable, {stats.failed} asks without an answer; "
        f"agreement among the verdicts of a step {agreement}\n"
        f"{usage.calls} calls, {usage.cached} answers from the cache, {usage.retries} retries, "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens, cost {usage.cost:.4g}, "
        f"{usage.seconds:.0f} s"
    )


def _percent(share: float) -> str:
    from declutch.report.cells import DASH, format_percent

    return DASH if share != share else f"{format_percent(share)}%"

"""`declutch labels`: the sources of labels on a policy's own steps, beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from declutch.config import Config
from declutch.endpoint.chat import ChatRequest
from declutch.endpoint.client import Endpoint, open_endpoint
from declutch.endpoint.usage import Usage, largest_usage
from declutch.envs.text_env import Suite
from declutch.errors import UserError
from declutch.files import write_atomically
from declutch.judge.labels import Labels, oracle_labels, rule_labels
from declutch.judge.llm_labels import (
    BallotStats,
    LLMLabels,
    ballot_stats,
    judge_requests,
    llm_labels,
)
from declutch.judge.questions import spread_steps
from declutch.policy import Policy
from declutch.records import Episode, Outcome
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.streams import draw_tasks, stream
from declutch.tables import format_percent

_TASKS_AT_ONCE = 64
_NUM_EXAMPLES = 2


@dataclass(frozen=True)
class SourceReport:
    """One source of labels over some steps, and against the oracle where both have a word.

    Attributes:
        steps: how many it was asked about.
        good, bad: how many it labelled so.
        cells: "good/bad" -> steps that it calls good and the oracle bad, and so on.
    """

    steps: int
    good: int
    bad: int
    cells: Mapping[str, int]

    @property
    def labelled(self) -> float:
        return _ratio(self.good + self.bad, self.steps)

    @property
    def good_share(self) -> float:
        """Of the labelled steps."""
        return _ratio(self.good, self.good + self.bad)

    @property
    def num_compared(self) -> int:
        return sum(self.cells.values())

    def precision(self, word: str) -> float:
        """Of the steps it calls `word` and the oracle labels too, the share it is right on."""
        said = sum(count for cell, count in self.cells.items() if cell.startswith(f"{word}/"))
        return _ratio(self.cells[f"{word}/{word}"], said)

    @property
    def agreement(self) -> float:
        return _ratio(self.cells["good/good"] + self.cells["bad/bad"], self.num_compared)

    @property
    def constant(self) -> float:
        """The agreement of always saying the oracle's more frequent word on the same steps."""
        good = self.cells["good/good"] + self.cells["bad/good"]
        return _ratio(max(good, self.num_compared - good), self.num_compared)


@dataclass(frozen=True)
class LabelReport:
    """All sources over one policy's steps.

    Attributes:
        sources: by name; the endpoint's is over the steps it was asked about.
        num_episodes, num_steps: what was labelled.
        ballots: the endpoint's asks, None where it was not asked.
        usage: what they cost.
    """

    sources: Mapping[str, SourceReport]
    num_episodes: int
    num_steps: int
    ballots: BallotStats | None = None
    usage: Usage | None = None


def run_labels(
    policy: Policy,
    config: Config,
    suite: Suite,
    split: str,
    num_steps: int,
    llm_steps: int,
    dry_run: bool,
    out: Path | None,
    console: Console,
) -> None:
    """Play, label, and print how the sources compare; or what an endpoint would be asked.

    Args:
        num_steps: steps labelled by the rule and the oracle.
        llm_steps: of these, steps that the endpoint is asked about; 0 asks none.
        dry_run: ask nothing.
        out: JSON file of the numbers.
    Raises:
        UserError: no such split, an endpoint that is not named or is away.
    """
    episodes = play_steps(policy, config, suite, split, num_steps)
    draw = stream(config.seed, "llm-steps")
    steps = spread_steps([_cut(e) for e in _first_steps(episodes, num_steps)], llm_steps, draw)
    if dry_run:
        requests = judge_requests(episodes, steps, config)
        _show_dry_run(requests, config, console)
        return
    chat = open_endpoint(config.endpoint) if steps else None
    asked = llm_labels(episodes, steps, config, chat) if chat else None
    if asked is not None and asked.failure:
        raise UserError(
            f"most asks of endpoint.model={config.endpoint.model} got no answer ({asked.failure}); "
            "the answers there were are kept, so that the same command goes on from them"
        )
    report = compare_sources(episodes, num_steps, config, asked, chat)
    console.print(report_table(report, f"{split}, seed {config.seed}"))
    if report.ballots is not None and report.usage is not None:
        console.print(_describe_asks(report.ballots, report.usage), highlight=False)
    if out is not None:
        write_atomically(out, json.dumps(report_data(report), indent=1) + "\n")
        console.print(f"written to {out}")


def play_steps(
    policy: Policy, config: Config, suite: Suite, split: str, num_steps: int
) -> list[Episode]:
    """Whole episodes, one a task, until there are `num_steps` steps.

    Raises:
        UserError: no such split, or all its tasks end in an environment error.
    """
    tasks = suite.tasks(split)
    if not tasks:
        raise UserError(f"--split {split!r} has no games")
    episodes: list[Episode] = []
    count, batch = min(_TASKS_AT_ONCE, len(tasks)), 0
    params = CollectParams(
        max_steps=config.env.max_steps, temperature=config.rollout.temperature, oracle_every=1
    )
    while sum(len(episode.steps) for episode in episodes) < num_steps:
        drawn = draw_tasks(tasks, count, config.seed, batch)
        played = collect(
            [Play(task, batch * count + n) for n, task in enumerate(drawn)],
            suite.make_env,
            policy.agent,
            policy.engine,
            params,
            stream(config.seed, "labels", batch),
        )
        if all(episode.outcome is Outcome.ENV_ERROR for episode in played):
            raise UserError(f"all episodes ended in an environment error: {played[0].error}")
        episodes += [episode for episode in played if episode.outcome is not Outcome.ENV_ERROR]
        batch += 1
    return episodes


def compare_sources(
    episodes: Sequence[Episode],
    num_steps: int,
    config: Config,
    asked: LLMLabels | None = None,
    chat: Endpoint | None = None,
) -> LabelReport:
    """Compare the sources over the first `num_steps` steps of `episodes`."""
    first = _first_steps(episodes, num_steps)
    lengths = [count for _, count in first]
    # The rule looks ahead: a step's label needs its whole episode, whether that is counted or not.
    rule = _flat([rule_labels(e, config.gcd.rule_key) for e in episodes], lengths)
    oracle = _flat([oracle_labels(e) for e in episodes], lengths)
    sources = {"oracle": _source(oracle, oracle), "rule": _source(rule, oracle)}
    report = LabelReport(sources, len(lengths), len(oracle))
    if asked is None or chat is None:
        return report
    truth = [oracle_labels(episode) for episode in episodes]
    pairs = [(ballot.label, truth[ballot.episode][ballot.position]) for ballot in asked.ballots]
    sources["endpoint"] = _source([a for a, _ in pairs], [b for _, b in pairs])
    return replace(report, ballots=ballot_stats(asked.ballots), usage=chat.usage)


def report_table(report: LabelReport, title: str) -> Table:
    """A column per source; agreement and precision are against the oracle."""
    table = Table(title=f"{report.num_steps} steps of {report.num_episodes} episodes, {title}")
    table.add_column("")
    for name in report.sources:
        table.add_column(name, justify="right")
    sources = list(report.sources.values())
    table.add_row("steps", *(str(s.steps) for s in sources))
    table.add_row("labelled", *(_percent(s.labelled) for s in sources))
    table.add_row("good, of the labelled", *(_percent(s.good_share) for s in sources))
    table.add_section()
    table.add_row("steps the oracle labels too", *(str(s.num_compared) for s in sources))
    table.add_row("agree with it", *(_percent(s.agreement) for s in sources))
    table.add_row("a constant verdict would", *(_percent(s.constant) for s in sources))
    for word in ("good", "bad"):
        table.add_row(
            f'right where it says "{word}"', *(_percent(s.precision(word)) for s in sources)
        )
    table.add_section()
    for cell in report.sources["oracle"].cells:
        said, true = cell.split("/")
        cells = (str(s.cells[cell]) for s in sources)
        table.add_row(f"says {said}, the oracle {true}", *cells)
    return table


def report_data(report: LabelReport) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "steps": report.num_steps,
        "episodes": report.num_episodes,
        "sources": {name: asdict(source) for name, source in report.sources.items()},
        "ballots": asdict(report.ballots) if report.ballots else None,
        "usage": asdict(report.usage) if report.usage else None,
    }


def estimate_usage(requests: Sequence[ChatRequest], config: Config) -> Usage:
    """What asking all of `requests` may come to; prompts are counted roughly."""
    return sum((largest_usage(request, config.endpoint) for request in requests), Usage())


def _show_dry_run(requests: Sequence[ChatRequest], config: Config, console: Console) -> None:
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
    agreement = "–" if stats.agreement is None else _percent(stats.agreement)
    return (
        f"endpoint: {stats.asks} asks about {stats.steps} steps, {stats.kept} labels kept; "
        f"{stats.unreadable} verdicts unreadable, {stats.failed} asks without an answer; "
        f"agreement among the verdicts of a step {agreement}\n"
        f"{usage.calls} calls, {usage.cached} answers from the cache, {usage.retries} retries, "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens, cost {usage.cost:.4g}, "
        f"{usage.seconds:.0f} s"
    )


def _first_steps(episodes: Sequence[Episode], num_steps: int) -> list[tuple[Episode, int]]:
    """The episodes that the first `num_steps` steps are of, and how many are each one's."""
    found, left = [], num_steps
    for episode in episodes:
        if left <= 0:
            break
        found.append((episode, min(left, len(episode.steps))))
        left -= len(episode.steps)
    return found


def _cut(part: tuple[Episode, int]) -> Episode:
    episode, count = part
    return replace(episode, steps=episode.steps[:count])


def _flat(labels: Sequence[Labels], lengths: Sequence[int]) -> list[int | None]:
    pairs = zip(labels, lengths, strict=False)
    return [label for marks, length in pairs for label in marks[:length]]


def _source(labels: Sequence[int | None], oracle: Sequence[int | None]) -> SourceReport:
    words = {1: "good", 0: "bad"}
    pairs = list(zip(labels, oracle, strict=True))
    return SourceReport(
        steps=len(pairs),
        good=sum(label == 1 for label in labels),
        bad=sum(label == 0 for label in labels),
        cells={f"{words[a]}/{words[b]}": pairs.count((a, b)) for a in (1, 0) for b in (1, 0)},
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _percent(share: float) -> str:
    return "–" if share != share else f"{format_percent(share)}%"

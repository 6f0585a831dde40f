"""Labels from a stronger language model, which is asked about a step several times.

A label needs that enough of the verdicts agree; what cannot be read is no verdict, and an ask
that got no answer is neither (METHOD, section 4, step 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from declutch.agent.parse import parse_verdict
from declutch.agent.prompt import render_agent, render_judge, view_at
from declutch.config.judge import GCDConfig
from declutch.config.run import Config
from declutch.endpoint.chat import Chat, ChatReply, ChatRequest
from declutch.envs.registry import wording_of
from declutch.errors import UserError
from declutch.judge.brief import brief_messages
from declutch.judge.labels import Labels
from declutch.judge.questions import spread_steps
from declutch.records import Episode
from declutch.streams import stream


class EndpointFailedError(UserError):
    """Most asks of an iteration got no answer, and the run is to stop then."""


@dataclass(frozen=True)
class Ballot:
    """What came of the asks about one step.

    Attributes:
        episode, position: which step.
        verdicts: those that could be read.
        num_unreadable: answers without a readable verdict.
        num_failed: asks without an answer.
        label: what enough of the verdicts say, else None.
    """

    episode: int
    position: int
    verdicts: tuple[int, ...]
    num_unreadable: int
    num_failed: int
    label: int | None


@dataclass(frozen=True)
class LLMLabels:
    """What a language model had to say about some episodes.

    Attributes:
        labels: per episode and step; None where it was not asked, or did not agree with itself.
        ballots: one per step asked about.
        failure: why most asks got no answer, "" where most did; the labels are then all None.
    """

    labels: tuple[Labels, ...]
    ballots: tuple[Ballot, ...]
    failure: str = ""


@dataclass(frozen=True)
class BallotStats:
    """The ballots of some steps, counted.

    Attributes:
        steps, kept, good, bad: steps asked about, with a label, and with which.
        asks, unreadable, failed: asks, those answered without a readable verdict, and those not
            answered.
        agreement: mean over steps of the share of the larger side of the readable verdicts; None
            where none could be read.
        unanimous: share of the steps asked about whose verdicts were all readable and equal.
    """

    steps: int
    kept: int
    good: int
    bad: int
    asks: int
    unreadable: int
    failed: int
    agreement: float | None
    unanimous: float | None


def llm_labels(
    episodes: Sequence[Episode],
    steps: Sequence[tuple[int, int]],
    config: Config,
    chat: Chat,
) -> LLMLabels:
    """Ask about `steps`, (episode, position) pairs, as often as `config.gcd` says."""
    gcd = config.gcd
    replies = chat.ask(judge_requests(episodes, steps, config))
    ballots = tuple(
        count_votes(*step, replies[n * gcd.llm_asks : (n + 1) * gcd.llm_asks], gcd)
        for n, step in enumerate(steps)
    )
    errors = [reply.error for reply in replies if reply.text is None]
    # Few failures cost their labels alone: one prompt too long for a server is not its end.
    failure = Counter(errors).most_common(1)[0][0] if 2 * len(errors) > len(replies) else ""
    found = {} if failure else {(b.episode, b.position): b.label for b in ballots}
    labels = tuple(
        tuple(found.get((index, position)) for position in range(len(episode.steps)))
        for index, episode in enumerate(episodes)
    )
    return LLMLabels(labels, ballots, failure)


def judge_requests(
    episodes: Sequence[Episode], steps: Sequence[tuple[int, int]], config: Config
) -> list[ChatRequest]:
    """Every ask about every step, the asks of a step together.

    The prompt is in words whatever the agent's own is: the compact one is for models that were
    trained on it.
    """
    gcd = config.gcd
    return [
        ChatRequest(messages, gcd.llm_max_tokens, gcd.llm_temperature, attempt)
        for index, position in steps
        for messages in [_judge_messages(episodes[index], position, config)]
        for attempt in range(gcd.llm_asks)
    ]


def _judge_messages(episode: Episode, position: int, config: Config) -> tuple[tuple[str, str], ...]:
    view, action = view_at(episode, position), episode.steps[position].action
    agent, wording = config.agent, wording_of(config.env.suite)
    if config.gcd.llm_prompt == "brief":
        return brief_messages(view, action.text, wording)
    problem = render_agent(view, "full", agent.history_length, agent.reasoning, wording)
    prompt = render_judge(problem, action.response, "full", wording, config.gcd.judge_prompt)
    return (("user", prompt),)


def count_votes(
    episode: int, position: int, replies: Sequence[ChatReply], gcd: GCDConfig
) -> Ballot:
    """Read the replies about one step."""
    texts = [reply.text for reply in replies if reply.text is not None]
    read = [parse_verdict(text).value for text in texts]
    verdicts = tuple(value for value in read if value is not None)
    winners = [value for value in (0, 1) if verdicts.count(value) >= gcd.llm_agree]
    return Ballot(
        episode=episode,
        position=position,
        verdicts=verdicts,
        num_unreadable=len(read) - len(verdicts),
        num_failed=len(replies) - len(texts),
        label=winners[0] if winners else None,
    )


def ballot_stats(ballots: Sequence[Ballot]) -> BallotStats:
    """Count ballots."""
    asks = [len(b.verdicts) + b.num_unreadable + b.num_failed for b in ballots]
    pairs = list(zip(ballots, asks, strict=True))
    larger = [max(Counter(b.verdicts).values()) / len(b.verdicts) for b in ballots if b.verdicts]
    alike = [len(b.verdicts) == n and len(set(b.verdicts)) == 1 for b, n in pairs]
    return BallotStats(
        steps=len(ballots),
        kept=sum(b.label is not None for b in ballots),
        good=sum(b.label == 1 for b in ballots),
        bad=sum(b.label == 0 for b in ballots),
        asks=sum(asks),
        unreadable=sum(b.num_unreadable for b in ballots),
        failed=sum(b.num_failed for b in ballots),
        agreement=sum(larger) / len(larger) if larger else None,
        unanimous=sum(alike) / len(alike) if alike else None,
    )


class Labeler:
    """Labels an iteration's steps by a language model, and does as configured when it is away.

    Args:
        chat: the model.
        say: told once when the model goes away.
    """

    def __init__(self, config: Config, chat: Chat, say: Callable[[str], None]) -> None:
        self._config = config
        self._chat = chat
        self._say = say
        self._is_away = False

    def label(self, episodes: Sequence[Episode], iteration: int) -> LLMLabels:
        """Ask about `gcd.llm_steps` steps, tasks and their episodes taking turns.

        Raises:
            EndpointFailedError: most asks got no answer, under on_endpoint_failure=stop.
        """
        gcd = self._config.gcd
        draw = stream(self._config.seed, "llm-steps", iteration)
        steps = spread_steps(episodes, gcd.llm_steps, draw)
        found = llm_labels(episodes, steps, self._config, self._chat)
        if found.failure:
            self._explain(found.failure, iteration + 1)
        self._is_away = bool(found.failure)
        return found

    def _explain(self, failure: str, iteration: int) -> None:
        gcd = self._config.gcd
        what = f"iteration {iteration}: most asks of endpoint.model={self._config.endpoint.model}"
        what += f" got no answer ({failure})"
        if gcd.on_endpoint_failure == "stop":
            raise EndpointFailedError(
                f"{what}; nothing is lost: put the endpoint right and continue with --resume, "
                "or set gcd.on_endpoint_failure=skip or fallback"
            )
        instead = "without LLM labels"
        if gcd.on_endpoint_failure == "fallback":
            instead = f"with {gcd.fallback_labels} labels"
        if not self._is_away:
            self._say(
                f"{what}; such iterations train {instead} (gcd.on_endpoint_failure="
                f"{gcd.on_endpoint_failure}) and are flagged as labels/endpoint_failed"
            )

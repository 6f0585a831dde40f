"""Label steps by the verdicts of a language model that is asked several times about each step.

A step gets a label when enough of its verdicts agree. An answer without a readable verdict counts
as an answer without a vote, and a request that got no answer counts as neither (GC, section 4.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from declutch.agent.parse import drop_thought, parse_verdict
from declutch.agent.prompt import render_agent, render_judge, view_at
from declutch.config.judge import GCDConfig
from declutch.config.policy import AgentConfig
from declutch.endpoint.chat import Chat, ChatReply, ChatRequest
from declutch.envs.wording import Wording
from declutch.ground.errors import UserError
from declutch.ground.streams import stream
from declutch.judge.brief import write_brief_question
from declutch.judge.labels import Labels
from declutch.judge.questions import spread_steps
from declutch.records import Episode


class EndpointFailedError(UserError):
    """The endpoint gave too few LLM labels, and the settings say to stop the run."""


@dataclass(frozen=True)
class AskSettings:
    """How LLM labels are got: times that each step is asked about, votes that must agree, limits.

    Attributes:
        gcd: which question, how often it is put, and how many equal verdicts make a label.
        agent: how the agent reasons, and how much of the past its prompt shows.
        wording: the suite's words.
    """

    gcd: GCDConfig
    agent: AgentConfig
    wording: Wording


@dataclass(frozen=True)
class Ballot:
    """The ballot on one step: the verdicts of the LLM that was asked, and the label they make.

    Attributes:
        episode, position: which step.
        verdicts: those that could be read.
        num_unreadable: number of answers without a readable verdict.
        num_failed: number of requests without an answer.
        label: what enough of the verdicts say, None where too few agree.
    """

    episode: int
    position: int
    verdicts: tuple[int, ...]
    num_unreadable: int
    num_failed: int
    label: int | None


@dataclass(frozen=True)
class LLMLabels:
    """An LLM's labels of episodes' steps, and what asking for them came to.

    Attributes:
        labels: for each episode and step; None where the model was not asked, or did not agree with
            itself.
        ballots: one for each step that it was asked about.
        failure: why most requests got no answer, and then all labels are None; "" where most got
            one.
    """

    labels: tuple[Labels, ...]
    ballots: tuple[Ballot, ...]
    failure: str = ""


@dataclass(frozen=True)
class BallotStats:
    """The verdicts behind an LLM's labels, counted over all steps that it was asked about.

    Attributes:
        steps: how many steps it was asked about.
        kept, good, bad: how many of them got a label, a good one, a bad one.
        asks, unreadable, failed: requests, those answered without a readable verdict, and those
            not answered.
        agreement: the share of a step's readable verdicts that the more frequent one has, as a
            mean over steps; None where no verdict could be read.
        unanimous: share of the steps whose verdicts were all readable and equal; None without
            steps.
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


def label_by_llm(
    episodes: Sequence[Episode],
    steps: Sequence[tuple[int, int]],
    settings: AskSettings,
    chat: Chat,
) -> LLMLabels:
    """Label steps of the agent's episodes by the verdicts of an LLM.

    Args:
        steps: (episode, position) pairs; each is asked about `gcd.llm_asks` times.
    """
    gcd = settings.gcd
    replies = chat.ask(build_requests(episodes, steps, settings))
    ballots = tuple(
        count_votes(*step, replies[n * gcd.llm_asks : (n + 1) * gcd.llm_asks], gcd)
        for n, step in enumerate(steps)
    )
    errors = [reply.error for reply in replies if reply.text is None]
    # Few failures cost no more than the labels of their steps: one prompt that is too long for a
    # server does not mean that the server is gone.
    failure = Counter(errors).most_common(1)[0][0] if 2 * len(errors) > len(replies) else ""
    found = {} if failure else {(b.episode, b.position): b.label for b in ballots}
    labels = tuple(
        tuple(found.get((index, position)) for position in range(len(episode.steps)))
        for index, episode in enumerate(episodes)
    )
    return LLMLabels(labels, ballots, failure)


def build_requests(
    episodes: Sequence[Episode], steps: Sequence[tuple[int, int]], settings: AskSettings
) -> list[ChatRequest]:
    """Build the requests for LLM labels, each of which asks for a verdict on a step.

    The prompt is the one in words even where the agent's own is compact, since only models that
    were trained on the compact one can read it.

    Returns:
        `gcd.llm_asks` requests for each step, those of one step in a row.
    """
    gcd = settings.gcd
    return [
        ChatRequest(messages, gcd.llm_max_tokens, gcd.llm_temperature, attempt)
        for index, position in steps
        for messages in [_render_messages(episodes[index], position, settings)]
        for attempt in range(gcd.llm_asks)
    ]


def _render_messages(
    episode: Episode, position: int, settings: AskSettings
) -> tuple[tuple[str, str], ...]:
    view, action = view_at(episode, position), episode.steps[position].action
    gcd, agent, wording = settings.gcd, settings.agent, settings.wording
    if gcd.llm_prompt == "brief":
        return write_brief_question(view, action.text, wording)
    problem = render_agent(view, "full", agent.history_length, wording, agent.reasoning)
    prompt = render_judge(problem, action.response, "full", wording, gcd.judge_prompt)
    return (("user", prompt),)


def count_votes(
    episode: int, position: int, replies: Sequence[ChatReply], gcd: GCDConfig
) -> Ballot:
    """Count the votes of an LLM's replies about one step, and label the step by them."""
    texts = [reply.text for reply in replies if reply.text is not None]
    read = [parse_verdict(drop_thought(text)).value for text in texts]
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


def count_ballots(ballots: Sequence[Ballot]) -> BallotStats:
    """Count the ballots of LLM labels: the verdicts over all steps that the LLM was asked about."""
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
    """Gives each training iteration's steps their LLM labels, also through an endpoint's outages.

    Args:
        settings: what the questions are made with, and what to do when the model is away.
        chat: the model.
        seed: of the run; which steps are asked about is drawn by it.
        say: told when the model goes away, and not again until it has been back.
    """

    def __init__(
        self, settings: AskSettings, chat: Chat, seed: int, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._chat = chat
        self._seed = seed
        self._say = say
        self._is_away = False

    def label(self, episodes: Sequence[Episode], iteration: int) -> LLMLabels:
        """Label `gcd.llm_steps` steps of one iteration's episodes, spread over tasks and episodes.

        Raises:
            EndpointFailedError: most requests got no answer, and `gcd.on_endpoint_failure` is
                "stop".
        """
        draw = stream(self._seed, "llm-steps", iteration)
        steps = spread_steps(episodes, self._settings.gcd.llm_steps, draw)
        found = label_by_llm(episodes, steps, self._settings, self._chat)
        if found.failure:
            self._explain(found.failure, iteration + 1)
        self._is_away = bool(found.failure)
        return found

    def _explain(self, failure: str, iteration: int) -> None:
        gcd = self._settings.gcd
        what = f"iteration {iteration}: most requests for labels got no answer from the endpoint"
        what += f" ({failure})"
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

"""Have a language model write the cold start's texts, and check each before it is used.

The expert's actions and the labels of steps stay what they are; the model only finds words for
them. Where a text does not fit, the template's is kept instead, and counted as a fallback.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from declutch.agent.parse import parse_verdict
from declutch.agent.prompt import render_agent, render_reasoning
from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.views import build_views
from declutch.config.policy import SFTConfig
from declutch.config.section import JudgePrompt
from declutch.endpoint.chat import Chat, ChatReply, ChatRequest
from declutch.envs.wording import Wording
from declutch.ground.errors import UserError

CHUNK = 64
"""How many questions are put at once, between two reports of the progress."""
_TAG = re.compile(r"</?[a-z]+>|\\boxed", re.IGNORECASE)
_ARTICLES = frozenset(("the", "a", "an"))


@dataclass(frozen=True)
class Rewritten:
    """Demonstrations whose reasoning texts a language model at an endpoint has worded anew.

    Attributes:
        episodes: as they were, except for the thoughts.
        fallbacks: number of steps that kept the template's thought, by reason.
    """

    episodes: tuple[Demonstration, ...]
    fallbacks: Mapping[str, int]


def rewrite_reasoning(
    episodes: Sequence[Demonstration],
    chat: Chat,
    config: SFTConfig,
    history_length: int,
    wording: Wording,
    progress: Callable[[int, int], None] | None = None,
) -> Rewritten:
    """Have an endpoint's language model word the texts of reasoning in demonstrations.

    It is shown what the agent saw and the action that the expert would take.

    Args:
        config: how many tokens a text may have, and how it is sampled.
        history_length: how many observation/action pairs of the past it is shown.
        wording: the suite's words.
        progress: called with (steps done, steps).
    Raises:
        UserError: a whole chunk of questions got no answer.
    """
    requests = [
        _request(
            render_reasoning(
                render_agent(view, "full", history_length, wording=wording),
                step.expert_action,
                wording,
            ),
            config,
        )
        for episode in episodes
        for view, step in zip(build_views(episode, "full", wording), episode.steps, strict=True)
    ]
    replies: list[ChatReply] = []
    for first in range(0, len(requests), CHUNK):
        replies += _ask(chat, requests[first : first + CHUNK])
        if progress is not None:
            progress(len(replies), len(requests))
    fallbacks: Counter[str] = Counter()
    answers = iter(replies)
    rewritten = []
    for episode in episodes:
        steps = []
        for step in episode.steps:
            text = next(answers).text
            reason = refuse_reasoning(text, step.expert_action, step.admissible)
            fallbacks.update([reason] if reason else [])
            steps.append(step if reason else replace(step, thought=" ".join((text or "").split())))
        rewritten.append(replace(episode, steps=tuple(steps)))
    return Rewritten(tuple(rewritten), dict(sorted(fallbacks.items())))


def refuse_reasoning(text: str | None, action: str, admissible: Sequence[str]) -> str:
    """Say why an endpoint's text cannot be the reasoning before an action; "" when it can.

    It must not name another action. A command of one word, such as "look", is a word like any
    other; a longer one counts as named whatever the articles, case and punctuation.

    Returns:
        "unanswered", "empty", "tags", "unfinished" (no mark ends its last sentence), "other action"
        or "".
    """
    if text is None:
        return "unanswered"
    if not text.strip():
        return "empty"
    if _TAG.search(text):
        return "tags"
    if text.rstrip().rstrip("\"'”’)")[-1:] not in (".", "!", "?"):
        return "unfinished"
    said = _words(text).replace(_words(action), " ; ")
    others = (_words(command) for command in admissible if command != action and " " in command)
    return "other action" if any(other in said for other in others) else ""


class CritiqueWriter:
    """Has a language model at an endpoint write the texts of judging that a cold start teaches.

    The model is asked the judge's own question and is not told the label; its critique is kept
    only where it comes to the label by itself.

    Args:
        chat: the language model.
        config: how many tokens a critique may have, and how it is sampled.
        judge_prompt: which paper's question is asked; "rm" wants an action where the verdict is 0.
    """

    def __init__(self, chat: Chat, config: SFTConfig, judge_prompt: JudgePrompt) -> None:
        self._chat = chat
        self._config = config
        self._judge_prompt = judge_prompt
        self._fallbacks: Counter[str] = Counter()

    @property
    def fallbacks(self) -> dict[str, int]:
        """How many critiques were not kept so far, by reason."""
        return dict(sorted(self._fallbacks.items()))

    def write(self, questions: Sequence[tuple[str, int]]) -> list[str | None]:
        """Write a critique for each (prompt, label); None where the template's is to be taken.

        Raises:
            UserError: none of the questions got an answer.
        """
        replies = _ask(self._chat, [_request(prompt, self._config) for prompt, _ in questions])
        texts: list[str | None] = []
        for (_, label), reply in zip(questions, replies, strict=True):
            reason = refuse_critique(reply.text, label, self._judge_prompt)
            self._fallbacks.update([reason] if reason else [])
            texts.append(None if reason else (reply.text or "").strip())
        return texts


def refuse_critique(text: str | None, label: int, judge_prompt: JudgePrompt) -> str:
    """Say why an endpoint's text cannot be the critique of a step with this label; "" when it can.

    Returns:
        "unanswered", "empty", "unreadable" (not the format that was asked for), "other verdict" or
        "".
    """
    if text is None:
        return "unanswered"
    if not text.strip():
        return "empty"
    verdict = parse_verdict(text)
    if not (verdict.is_valid and verdict.thought and verdict.advice):
        return "unreadable"
    if verdict.value != label:
        return "other verdict"
    is_proposing = judge_prompt == "rm" and label == 0
    return "" if bool(verdict.better_action) == is_proposing else "unreadable"


def _request(prompt: str, config: SFTConfig) -> ChatRequest:
    return ChatRequest((("user", prompt),), config.text_max_tokens, config.text_temperature)


def _ask(chat: Chat, requests: Sequence[ChatRequest]) -> list[ChatReply]:
    replies = chat.ask(requests)
    if requests and all(reply.text is None for reply in replies):
        raise UserError(
            f"the endpoint answered none of {len(requests)} questions ({replies[0].error}); see to "
            "it and repeat the command (answers so far are kept where endpoint.cache_dir is set), "
            "or take the templates: sft.reasoning=template sft.critiques=template"
        )
    return replies


def _words(text: str) -> str:
    """Lower-case words without articles, each between spaces."""
    words = re.findall(r"\w+", text.lower())
    return f" {' '.join(word for word in words if word not in _ARTICLES)} "

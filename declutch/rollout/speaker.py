"""How a language model takes part in an environment: prompt in, action out.

A `Speaker` turns a view into a sampling request and a response into an action; the agent and the
judge are two speakers of the same model, so that one `collect` plays both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from declutch.agent.parse import REASONING_TAGS, parse_response
from declutch.agent.prompt import PromptForm, View, render_agent, render_reflection, response_prefix
from declutch.agent.wording import HOUSEHOLD, Wording
from declutch.config import AgentConfig, Reasoning
from declutch.errors import UserError
from declutch.records import META_TAGS, Action, Completion, Role
from declutch.rollout.engine import ActionMask, Request, SamplingParams

TAGS = (
    "<think>",
    "</think>",
    "<action>",
    "</action>",
    "<answer>",
    "</answer>",
    "<advise>",
    "</advise>",
    "\\boxed{0}",
    "\\boxed{1}",
)
"""What every tiny model's tokenizer has as single tokens."""

META_TAG_TOKENS = tuple(f"<{slash}{tag}>" for tag in META_TAGS for slash in ("", "/"))
"""What it has besides where the agent names its way of reasoning."""


class Speaker(Protocol):
    """A role a model can play."""

    def request(self, view: View) -> Request:
        """The prompt, and what may be answered."""
        ...

    def sampling(self, temperature: float) -> SamplingParams:
        """How to sample this role's responses."""
        ...

    def text(self, completion: Completion) -> str:
        """A whole response as text."""
        ...

    def read(self, completion: Completion, admissible: tuple[str, ...]) -> Action:
        """The action in a response."""
        ...


class Codec:
    """A tokenizer with what the speakers ask of it.

    Args:
        tokenizer: a Hugging Face tokenizer.
        form: prompt form; "full" prompts go through the tokenizer's chat template if it has one.
        reasoning: how the agent reasons; a judge always thinks.
        wording: the words of the suite that is played.
    Raises:
        UserError: the tokenizer cannot write the tags of `reasoning`.
    """

    def __init__(
        self,
        tokenizer: Any,
        form: PromptForm,
        reasoning: Reasoning = "think",
        wording: Wording = HOUSEHOLD,
    ) -> None:
        self.tokenizer = tokenizer
        self.form = form
        self.reasoning = reasoning
        self.wording = wording
        if reasoning == "meta" and self._is_unknown("".join(META_TAG_TOKENS)):
            raise UserError(
                f"agent.reasoning=meta needs the tags {_spell(META_TAGS)}, which this model's "
                "tokenizer does not know; make a model with `declutch init-tiny` and "
                "agent.reasoning=meta, or set agent.reasoning=think"
            )
        self.encode_line = lru_cache(maxsize=65536)(self._encode_line)

    def encode_prompt(self, text: str) -> Tensor:
        """i64[P]."""
        if self.form == "full" and getattr(self.tokenizer, "chat_template", None):
            ids = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        else:
            ids = self.tokenizer.encode(text, add_special_tokens=self.form == "full")
        return torch.tensor(ids, dtype=torch.long)

    def decode(self, ids: Tensor, role: Role = Role.AGENT) -> str:
        """The text of a response, the part the prompt gave included, padding and end tokens not."""
        text = self.tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        for token in (self.tokenizer.eos_token, self.tokenizer.pad_token):
            if token and token not in TAGS:
                text = text.replace(token, "")
        reasoning = self.reasoning if role is Role.AGENT else "think"
        return response_prefix(self.form, reasoning) + text

    def token_id(self, text: str) -> int | None:
        """The id of `text` when it is one token, else None."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return ids[0] if len(ids) == 1 else None

    def single_ids(self, texts: tuple[str, ...]) -> dict[str, int] | None:
        """The ids of all `texts`, or None when one of them is not a single token."""
        ids = {text: self.token_id(text) for text in texts}
        return None if None in ids.values() else {k: v for k, v in ids.items() if v is not None}

    def stop_ids(self, closing_tag: str) -> tuple[int, ...]:
        """What ends a response: the tag where it is one token, and the end of text."""
        ids = [self.token_id(closing_tag), self.tokenizer.eos_token_id]
        return tuple(dict.fromkeys(i for i in ids if i is not None))

    def end_test(self, closing_tag: str) -> Callable[[Sequence[int]], bool] | None:
        """Whether tokens end with a tag that is several tokens; None where it is one."""
        if self.token_id(closing_tag) is not None:
            return None

        def has_ended(tokens: Sequence[int]) -> bool:
            # A tag is never longer in tokens than in characters.
            return closing_tag in self.tokenizer.decode(list(tokens[-len(closing_tag) :]))

        return has_ended

    def _is_unknown(self, text: str) -> bool:
        unknown = self.tokenizer.unk_token_id
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return unknown is not None and unknown in ids

    def _encode_line(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


class Agent:
    """The model as an agent.

    Raises:
        UserError: actions are to be masked, but the tokenizer splits the tags.
    """

    def __init__(self, codec: Codec, config: AgentConfig) -> None:
        self.codec = codec
        self.config = config
        names = REASONING_TAGS[codec.reasoning]
        self._closing = tuple(f"</{name}>" for name in names)
        # Where there is but one, the prompt ends with it or asks for it.
        self._opening = tuple(f"<{name}>" for name in names) if len(names) > 1 else ()
        tags = codec.single_ids((*self._opening, *self._closing, "<action>", "</action>"))
        if config.constrain_actions and tags is None:
            raise UserError(
                f"agent.constrain_actions=true needs {_spell(names)} and <action> tags that are "
                "single tokens of the model's tokenizer; set agent.constrain_actions=false, or "
                "use a model made by `declutch init-tiny`"
            )
        self._tags = tags or {}

    def render(self, view: View) -> str:
        codec = self.codec
        length = self.config.history_length
        prompt = render_agent(view, codec.form, length, codec.reasoning, codec.wording)
        return render_reflection(prompt, view.draft, codec.wording) if view.draft else prompt

    def request(self, view: View) -> Request:
        prompt_ids = self.codec.encode_prompt(self.render(view))
        if not self.config.constrain_actions:
            return Request(prompt_ids)
        if not view.admissible:
            raise UserError(
                "agent.constrain_actions=true masks the action to the admissible commands, but the "
                "environment lists none: its answers are free; set agent.constrain_actions=false"
            )
        close = self._tags["</action>"]
        sequences = tuple((*self.codec.encode_line(a), close) for a in view.admissible)
        return Request(prompt_ids, ActionMask(self._tags["<action>"], sequences))

    def sampling(self, temperature: float) -> SamplingParams:
        forced: tuple[tuple[int, int], ...] = ()
        first: tuple[int, ...] = ()
        if self.config.constrain_actions:
            forced = tuple((self._tags[tag], self._tags["<action>"]) for tag in self._closing)
            first = tuple(self._tags[tag] for tag in self._opening)
        return SamplingParams(
            temperature=temperature,
            max_tokens=self.config.max_response_tokens,
            stop_ids=self.codec.stop_ids("</action>"),
            forced_after=forced,
            first_ids=first,
            has_ended=self.codec.end_test("</action>"),
        )

    def text(self, completion: Completion) -> str:
        return self.codec.decode(completion.token_ids)

    def read(self, completion: Completion, admissible: tuple[str, ...]) -> Action:
        return parse_response(self.text(completion), admissible, self.codec.reasoning)


def _spell(names: tuple[str, ...]) -> str:
    return ", ".join(f"<{name}>" for name in names)

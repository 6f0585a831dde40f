"""Between texts and tokens: prompts to token ids, sampled token ids to texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from declutch.agent.prompt import PromptForm, response_prefix
from declutch.agent.turns import Turns
from declutch.agent.words import word_tokens
from declutch.config.policy import AgentConfig
from declutch.config.section import Reasoning
from declutch.envs.wording import Wording
from declutch.ground.errors import UserError
from declutch.records import META_TAGS, Role

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
"""Tags that are single tokens in the tokenizer of every tiny model."""


META_TAG_TOKENS = tuple(f"<{slash}{tag}>" for tag in META_TAGS for slash in ("", "/"))
"""More tags that are single tokens where the agent has to name its way of reasoning."""


MAX_PROMPTS = 128
"""How many prompts a codec remembers the tokens of; long ones take a while to encode again."""


class Codec:
    """The agent's codec: a tokenizer's encoding and decoding of prompts and responses.

    Args:
        tokenizer: a Hugging Face tokenizer.
        form: prompt form; "full" prompts go through the tokenizer's chat template if it has one.
        wording: the words of the suite that is played.
        reasoning: how the agent reasons; a judge always thinks.
        turns: what opens and what ends a response; None takes it from the tokenizer alone.
    Raises:
        UserError: the tokenizer cannot write the tags of `reasoning`, or its chat template opens a
            response with another one.
    """

    def __init__(
        self,
        tokenizer: Any,
        form: PromptForm,
        wording: Wording,
        reasoning: Reasoning = "think",
        turns: Turns | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._words = word_tokens(tokenizer)
        self.form = form
        self.reasoning = reasoning
        self.wording = wording
        if reasoning == "meta" and self._is_unknown("".join(META_TAG_TOKENS)):
            raise UserError(
                f"agent.reasoning=meta needs the tags {_spell(META_TAGS)}, which this model's "
                "tokenizer does not know; make a model with `declutch init-tiny` and "
                "agent.reasoning=meta, or set agent.reasoning=think"
            )
        config = AgentConfig(prompt=form, reasoning=reasoning)
        self.turns = Turns(tokenizer, config) if turns is None else turns
        if reasoning == "meta" and self.turns.opening:
            raise UserError(
                "agent.reasoning=meta has the agent name its way of reasoning, but the chat "
                "template of this model opens <think> for it; set "
                "agent.chat_template_kwargs={enable_thinking: false} if the template knows that, "
                "or agent.reasoning=think"
            )
        self.encode_line = lru_cache(maxsize=65536)(self._encode_line)
        # A judge is asked the same question several times in a row, and so are a group's episodes.
        self._find_prompt = lru_cache(maxsize=MAX_PROMPTS)(self._encode_prompt)

    def encode_prompt(self, text: str) -> Tensor:
        """Turn a prompt's text into token ids i64[P], by the chat template where there is one."""
        return torch.tensor(self._find_prompt(text), dtype=torch.long)

    def opening(self, role: Role = Role.AGENT) -> str:
        """The beginning of a response that its prompt already ends with, "" for none."""
        reasoning = self.reasoning if role is Role.AGENT else "think"
        return response_prefix(self.form, reasoning) or self.turns.opening

    def decode(self, ids: Tensor, role: Role = Role.AGENT) -> str:
        """Turn a response's token ids into its text, with the part that the prompt gave."""
        text = None if self._words is None else self._words.decode(ids.tolist())
        if text is None:
            text = self.tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        for token in self.turns.end_texts:
            if token not in TAGS:
                text = text.replace(token, "")
        return self.opening(role) + text

    def token_id(self, text: str) -> int | None:
        """The id of `text` when it is one token, else None."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return ids[0] if len(ids) == 1 else None

    def single_ids(self, texts: tuple[str, ...]) -> dict[str, int] | None:
        """The ids of all `texts`, or None when one of them is not a single token."""
        ids = {text: self.token_id(text) for text in texts}
        return None if None in ids.values() else {k: v for k, v in ids.items() if v is not None}

    def stop_ids(self, closing_tag: str) -> tuple[int, ...]:
        """The ids that end a response: the tag where it is one token, and what ends a turn."""
        ids = [self.token_id(closing_tag), *self.turns.end_ids]
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

    def _encode_prompt(self, text: str) -> tuple[int, ...]:
        return tuple(self.turns.encode(text))

    def _encode_line(self, text: str) -> tuple[int, ...]:
        found = None if self._words is None else self._words.encode(text)
        if found is None:
            found = self.tokenizer.encode(text, add_special_tokens=False)
        return tuple(found)


def _spell(names: tuple[str, ...]) -> str:
    return ", ".join(f"<{name}>" for name in names)

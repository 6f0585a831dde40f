"""A Qwen2 of about a million parameters with a word-level tokenizer of the environment's own words.

Small enough to learn household tasks on a laptop's CPU in minutes; a model folder like any other
for every command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from declutch.agent.codec import META_TAG_TOKENS, TAGS
from declutch.agent.prompt import render_agent
from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.template_texts import critique_vocabulary
from declutch.cold_start.views import demonstration_views
from declutch.config.policy import TinyConfig
from declutch.config.section import Reasoning
from declutch.envs.wording import Wording
from declutch.models.save import save_model
from declutch.records import META_TAGS

EMBEDDING_STD = 0.05
MAX_NUMBER = 60
"""Numbers up to this are words whether or not a text shows them."""


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 4096, reasoning: Reasoning = "think"
) -> PreTrainedTokenizerFast:
    """A tokenizer that gives every word of `texts`, every number and every tag one token."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Tags that are never used would change the vocabulary's size, and with it the initial weights.
    tags = TAGS if reasoning == "think" else (*TAGS, *META_TAG_TOKENS)
    specials = ["<pad>", "<unk>", "<eos>", *tags]
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, special_tokens=specials, show_progress=False
    )
    tokenizer.train_from_iterator(_with_numbers(texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )


def vocabulary_texts(
    demonstrations: Sequence[Demonstration],
    wording: Wording,
    reasoning: Reasoning = "think",
) -> Iterator[str]:
    """What a tiny agent will read and write: prompts, commands, reasoning, advice."""
    yield from critique_vocabulary(wording)
    yield "judge rule goal failed ; : , nothing"
    yield wording.words
    if reasoning == "meta":
        yield " ".join(META_TAGS)
    for demo in demonstrations:
        for view, step in zip(
            demonstration_views(demo, "compact", wording, reasoning), demo.steps, strict=True
        ):
            yield render_agent(view, "compact", 6, wording, reasoning)
            yield from step.admissible
            yield step.short_thought


def init_tiny(
    out_dir: Path,
    texts: Iterable[str],
    config: TinyConfig,
    seed: int,
    reasoning: Reasoning = "think",
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """Make a fresh model and its tokenizer, and save both as a Hugging Face folder.

    The same texts, sizes, seed and way of reasoning give the same bytes.
    """
    transformers_logging.disable_progress_bar()
    tokenizer = train_tokenizer(texts, reasoning=reasoning)
    model = Qwen2ForCausalLM(_qwen2(config, tokenizer))
    generator = torch.Generator().manual_seed(seed)
    _initialise(model, generator)
    save_model(out_dir, model, tokenizer, {})
    return model, tokenizer


def _qwen2(config: TinyConfig, tokenizer: Any) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        use_cache=True,
    )


@torch.no_grad()
def _initialise(model: Qwen2ForCausalLM, generator: torch.Generator) -> None:
    # From a generator of our own, so that the model does not depend on what ran before; and at a
    # scale that suits the width, since the usual 0.02 leaves a narrow model silent for long.
    num_residual = 2 * model.config.num_hidden_layers
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.dim() == 1:
            parameter.fill_(1.0)
        elif "embed_tokens" in name:
            parameter.normal_(0.0, EMBEDDING_STD, generator=generator)
        else:
            scale = parameter.shape[1] ** -0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                scale /= num_residual**0.5
            parameter.normal_(0.0, scale, generator=generator)


def _with_numbers(texts: Iterable[str]) -> Iterator[str]:
    yield " ".join(str(n) for n in range(1, MAX_NUMBER + 1))
    yield from texts

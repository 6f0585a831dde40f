"""Make a fresh Qwen2 of about a million parameters, with a tokenizer of an environment's words.

It is small enough to learn household tasks on a laptop's CPU in minutes, and its folder is a model
folder like any other for every command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from declutch.agent.codec import META_TAG_TOKENS, TAGS
from declutch.config.policy import TinyConfig
from declutch.config.section import Reasoning
from declutch.models.save import save_model

EMBEDDING_STD = 0.05
"""Standard deviation of a fresh model's embeddings."""
MAX_NUMBER = 60
"""Numbers from 1 to this one are words of the tokenizer whether or not a text shows them."""


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 4096, reasoning: Reasoning = "think"
) -> PreTrainedTokenizerFast:
    """Make a word-level tokenizer for a tiny model: a token for every word, number and tag.

    Args:
        texts: what the words are taken from.
        reasoning: "meta" adds the tags of its ways of reasoning.
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Tags that no response uses are left out: the size of the vocabulary decides the initial
    # weights, so that they would change models that never see them.
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


def init_tiny(
    out_dir: Path,
    texts: Iterable[str],
    config: TinyConfig,
    seed: int,
    reasoning: Reasoning = "think",
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """Make a fresh tiny model and its tokenizer, and save both as a Hugging Face folder.

    The same texts, sizes, seed and way of reasoning give the same bytes.

    Args:
        out_dir: the folder.
        texts: what the tokenizer's words are taken from.
        config: the model's sizes.
        seed: of the weights.
        reasoning: how the agent will reason; "meta" needs more tags.
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
    # From a generator of its own, so that the weights do not depend on what was drawn before; and
    # at a scale that suits the width, since from the usual 0.02 a narrow model takes long to learn
    # anything.
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

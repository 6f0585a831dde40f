"""Settings of the agent's prompt, the model, sampling, and the cold start."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from declutch.config.section import Reasoning, Section


class AgentConfig(Section):
    prompt: Literal["compact", "full"] = "compact"
    """"full" has the content of the papers' prompt; "compact" is for models of a few million
    parameters."""
    reasoning: Reasoning = "think"
    """How the agent reasons before it acts: freely, or inside exactly one of <planning>, <explore>,
    <reflection> and <monitor>, shown its last plan and answers, as algorithm.type=rlvmr rewards."""
    history_length: int = Field(default=6, ge=0)
    """Observation/action pairs (compact: actions) of the past that the prompt shows."""
    constrain_actions: bool = True
    """Mask the action to the admissible commands, in sampling and in learning alike."""
    max_response_tokens: int = Field(default=24, ge=2)
    """Tokens of one response; with the full prompt 512 is usual."""


class ModelConfig(Section):
    path: str = ""
    """A Hugging Face model folder or hub name."""
    device: str = "auto"
    """"auto" takes CUDA where there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"


class RolloutConfig(Section):
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of training."""
    max_batch: int = Field(default=128, ge=1)
    """Prompts decoded at once."""


class SFTConfig(Section):
    demonstrations: Path | None = None
    """A dataset written by `declutch demonstrations`; null writes one into the run folder first."""
    num_episodes: int = Field(default=300, ge=1)
    protocol: Literal["strict", "declared-share"] = "strict"
    """"strict" refuses held-out task types; "declared-share" draws a share from them."""
    held_out_share: float = Field(default=0.05, gt=0, lt=1)
    perturb: float = Field(default=0.2, ge=0, lt=1)
    """Probability that a demonstration plays a random action; the target stays the expert's."""
    epochs: int = Field(default=5, ge=1)
    lr: float = Field(default=1e-5, gt=0)
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens per optimizer step."""
    label_every: int = Field(default=1, ge=1)
    """Steps of a demonstration from one that the oracle labels to the next: judge samples are of
    labelled steps. ScienceWorld's oracle takes a second for an answer."""
    judge_samples: int = Field(default=100, ge=0)
    """Labelled steps added as judge examples, balanced between good and bad."""
    suggestion_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the demonstrations whose prompts show suggestions, drawn from the templates' advice:
    a model that has never read one is thrown off by those of gcd.suggestions."""
    future_samples: int = Field(default=0, ge=0)
    """Steps added with the observation that followed, to be predicted."""
    value_samples: int = Field(default=0, ge=0)
    """Labelled steps added for a value head to classify, balanced likewise; the head is saved
    beside the model, where gcd.task=value_head finds it."""
    reasoning: Literal["template", "endpoint"] = "template"
    """Who words the expert's reasoning in `declutch demonstrations`: templates, or the model at
    `endpoint`, which needs agent.prompt=full. The actions are the expert's either way."""
    critiques: Literal["template", "endpoint"] = "template"
    """Who words the answers of judge examples in `declutch sft`, likewise."""
    text_max_tokens: int = Field(default=512, ge=1)
    """Tokens of one text by the endpoint."""
    text_temperature: float = Field(default=0.7, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)


class TinyConfig(Section):
    vocabulary_episodes: int = Field(default=1200, ge=1)
    """Plays of all task types that the tokenizer's words are collected from."""
    hidden_size: int = Field(default=128, ge=16)
    num_layers: int = Field(default=4, ge=1)
    num_heads: int = Field(default=4, ge=1)
    intermediate_size: int = Field(default=384, ge=16)

"""A model with its tokenizer, its prompts and its engine, loaded as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from declutch.agent.codec import Codec
from declutch.agent.speaker import Agent
from declutch.config.run import Config
from declutch.envs.registry import find_wording
from declutch.models.load import load_model, pad_token_id, set_threads
from declutch.rollout.engine import Engine
from declutch.rollout.hf.engine import HFEngine


@dataclass(frozen=True)
class Policy:
    """The policy that a rollout plays by: the actor, how it reads and writes, how it is sampled.

    Attributes:
        model: the module that is trained.
        codec: its tokenizer with the form and the words of the prompts.
        agent: the model in the role of the agent.
        engine: what samples; it has the weights of `model` as of the last `engine.sync(model)`.
    """

    model: PreTrainedModel
    tokenizer: Any
    codec: Codec
    agent: Agent
    engine: Engine

    @property
    def pad_id(self) -> int:
        """The token id that fills up unequal rows."""
        return int(pad_token_id(self.tokenizer))


def load_policy(path: str | Path, config: Config) -> Policy:
    """Load the rollout's policy from a model folder or hub name, with the words of the suite.

    Raises:
        UserError: nothing loadable there.
    """
    set_threads(config.threads)
    model, tokenizer = load_model(path, config.model)
    return make_policy(model, tokenizer, config)


def make_policy(model: PreTrainedModel, tokenizer: Any, config: Config) -> Policy:
    """Make the rollout's policy of a loaded model and tokenizer, with the words of the suite."""
    wording = find_wording(config.env)
    codec = Codec(tokenizer, config.agent.prompt, wording, config.agent.reasoning)
    agent = Agent(codec, config.agent)
    engine = HFEngine(model, pad_token_id(tokenizer), max_batch=config.rollout.max_batch)
    return Policy(model, tokenizer, codec, agent, engine)

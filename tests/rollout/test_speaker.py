"""The agent with a tokenizer that splits the tags, as every pretrained one does."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from declutch.agent.prompt import build_view
from declutch.config import AgentConfig
from declutch.errors import UserError
from declutch.records import Completion
from declutch.rollout.engine import Request, SamplingParams
from declutch.rollout.hf_engine import HFEngine
from declutch.rollout.speaker import Agent, Codec


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, like a byte-level vocabulary without merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


FREE = AgentConfig(prompt="full", constrain_actions=False, max_response_tokens=64)


def test_a_closing_tag_of_several_tokens_ends_a_response() -> None:
    codec = Codec(byte_tokenizer(), "full")
    has_ended = codec.end_test("</action>")
    assert has_ended is not None
    text = "<think>a</think><action>look</action>"
    ids = codec.tokenizer.encode(text)
    assert [has_ended(ids[:n]) for n in range(1, len(ids) + 1)] == [False] * (len(ids) - 1) + [True]


def test_the_engine_stops_there() -> None:
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=256,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    )
    params = SamplingParams(1.0, 20, (), has_ended=lambda tokens: len(tokens) == 7)
    requests = [Request(torch.tensor([1, 2, 3])), Request(torch.tensor([4]))]
    done = HFEngine(model, 0).generate(requests, params, torch.Generator().manual_seed(0))
    assert [c.token_ids.numel() for c in done] == [7, 7]
    assert not any(c.is_truncated for c in done)


def test_free_responses_are_read_and_the_stop_is_set() -> None:
    codec = Codec(byte_tokenizer(), "full")
    agent = Agent(codec, FREE)
    params = agent.sampling(1.0)
    assert params.has_ended is not None
    assert params.stop_ids == ()
    text = "<think>where am I</think>\n<action>look</action>"
    ids = torch.tensor(codec.tokenizer.encode(text))
    action = agent.read(Completion(ids, torch.zeros(len(ids))), ("look",))
    assert (action.text, action.is_valid, action.is_admissible) == ("look", True, True)
    view = build_view(["You are here."], [], "", ("look",))
    assert "look" in codec.tokenizer.decode(agent.request(view).prompt_ids.tolist())


def test_masking_needs_whole_tags() -> None:
    with pytest.raises(UserError, match="constrain_actions"):
        Agent(Codec(byte_tokenizer(), "full"), AgentConfig())

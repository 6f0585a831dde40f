"""What opens and what ends a response, by chat templates of the kinds that real models have."""

from datetime import datetime
from types import SimpleNamespace

import pytest
import torch
from builders import make_step
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from declutch.agent.codec import Codec
from declutch.agent.prompt import build_view
from declutch.agent.speaker import Agent
from declutch.agent.turns import Turns, fix_date
from declutch.cold_start.examples import encode_example
from declutch.config.policy import AgentConfig
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.ground.errors import UserError
from declutch.judge.env import Judge
from declutch.records import Completion

SPECIAL = ("<|user|>", "<|assistant|>", "<|turn_end|>", "<|text_end|>")
PLAIN = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|turn_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = PLAIN.replace(
    "<|assistant|>{% endif %}",
    "<|assistant|>{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}{% endif %}",
)
DATED = "Today is {{ strftime_now('%d %b %Y') }}. " + PLAIN
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
TEXT = "<think>\nwhere am I</think>\n<action>look</action>"
VIEW = build_view(["You are here."], [], "", ("look",))


def make_tokenizer(template):
    """One token a byte, and a few of a chat; the tokenizer's own end is that of a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|text_end|>")
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL[:3])})
    made.chat_template = template
    return made


def make_codec(template, generation=None, **changes):
    config = AgentConfig(**{"prompt": "full", "constrain_actions": False, **changes})
    tokenizer = make_tokenizer(template)
    turns = Turns(tokenizer, config, generation)
    return Codec(tokenizer, "full", HOUSEHOLD, config.reasoning, turns), config


def shown(codec, text="say"):
    return codec.tokenizer.decode(codec.encode_prompt(text).tolist())


def complete(codec, text):
    ids = torch.tensor(codec.tokenizer.encode(text, add_special_tokens=False))
    return Completion(ids, torch.zeros(len(ids)))


@pytest.mark.parametrize("template", [PLAIN, THINKING])
def test_a_whole_response_is_valid_whoever_opens_the_thought(template):
    codec, config = make_codec(template)
    sampled = TEXT.removeprefix(codec.turns.opening)
    assert (codec.turns.opening == "<think>\n") == (template == THINKING)
    action = Agent(codec, config).read(complete(codec, sampled), ("look",))
    assert (action.text, action.thought, action.is_valid) == ("look", "where am I", True)


def test_a_judge_s_answer_is_read_with_the_thought_that_the_template_opens():
    codec, config = make_codec(THINKING)
    answer = "a step</think><answer>\\boxed{1}</answer><advise>go on</advise>"
    action = Judge(codec, config, 64).read(complete(codec, answer), ())
    assert (action.text, action.thought, action.is_valid) == ("1", "a step", True)


def test_a_template_s_arguments_are_settings():
    codec, _ = make_codec(THINKING, chat_template_kwargs={"enable_thinking": False})
    assert codec.turns.opening == ""
    assert shown(codec).endswith("<think>\n\n</think>\n\n")


def test_naming_ways_of_reasoning_is_refused_where_the_template_opens_a_thought():
    with pytest.raises(UserError, match="enable_thinking"):
        make_codec(THINKING, reasoning="meta")
    make_codec(THINKING, reasoning="meta", chat_template_kwargs={"enable_thinking": False})


@pytest.mark.parametrize("template", [PLAIN, THINKING])
def test_a_cold_start_teaches_what_the_model_has_to_say_itself(template):
    codec, _ = make_codec(template)
    example = encode_example(codec, "say", TEXT)
    learned = codec.tokenizer.decode(example.response_ids.tolist())
    whole = shown(codec) + learned
    assert whole.count("<think>") == 1
    assert codec.opening() + learned.removesuffix("<|text_end|>") == TEXT


def test_every_end_of_the_generation_settings_ends_a_response():
    tokenizer = make_tokenizer(PLAIN)
    turn_end, text_end = tokenizer.convert_tokens_to_ids(["<|turn_end|>", "<|text_end|>"])
    generation = SimpleNamespace(eos_token_id=[text_end, turn_end])
    codec, config = make_codec(PLAIN, generation)
    assert set(codec.stop_ids("</action>")) == {turn_end, text_end}
    assert set(Agent(codec, config).sampling(1.0).stop_ids) == {turn_end, text_end}
    # The template ends an assistant's turn with another token than the tokenizer's end.
    assert codec.turns.closing_id == turn_end
    example = encode_example(codec, "say", TEXT)
    assert example.response_ids[-1] == turn_end


@pytest.mark.parametrize("end", ["<|turn_end|>", "<|turn_end|><|text_end|>", "\n<|text_end|>"])
def test_ends_after_the_action_are_no_error(end):
    tokenizer = make_tokenizer(PLAIN)
    turn_end = tokenizer.convert_tokens_to_ids("<|turn_end|>")
    codec, config = make_codec(PLAIN, SimpleNamespace(eos_token_id=turn_end))
    action = Agent(codec, config).read(complete(codec, TEXT + end), ("look",))
    assert (action.text, action.is_valid) == ("look", True)


def test_a_named_template_is_chosen_by_name():
    named = {"think": THINKING, "plain": PLAIN}
    with pytest.raises(UserError, match="plain, think"):
        make_codec(named)
    with pytest.raises(UserError, match="'other'"):
        make_codec(named, chat_template="other")
    assert make_codec(named, chat_template="think")[0].turns.opening == "<think>\n"
    assert make_codec({"default": PLAIN, "tool_use": THINKING})[0].turns.opening == ""
    with pytest.raises(UserError, match="single chat template"):
        make_codec(PLAIN, chat_template="plain")


def test_a_date_in_a_template_is_that_of_the_settings():
    assert shown(make_codec(DATED)[0]).startswith("Today is 01 Jan 2025. ")
    codec, _ = make_codec(DATED, chat_date="2026/03/04")
    assert shown(codec).startswith("Today is 04 Mar 2026. ")
    assert fix_date(DATED, None) == DATED
    assert datetime.now().strftime("%d %b %Y") not in shown(codec)
    with pytest.raises(UserError, match="cannot be fixed"):
        make_codec("{{ strftime_now(form) }}" + PLAIN)


def test_a_system_prompt_stands_where_the_template_has_it():
    codec, _ = make_codec(PLAIN, system_prompt="Be brief.")
    assert "<|system|>Be brief.<|turn_end|><|user|>say" in shown(codec)
    with pytest.raises(UserError, match="no system"):
        make_codec(NO_SYSTEM + PLAIN, system_prompt="Be brief.")[0].encode_prompt("say")
    with pytest.raises(UserError, match=r"agent\.system_prompt needs"):
        make_codec(None, system_prompt="Be brief.")


def test_the_judge_is_shown_the_response_as_a_whole():
    codec, _ = make_codec(THINKING)
    ids = complete(codec, TEXT.removeprefix("<think>\n")).token_ids
    step = make_step(response=ids.tolist())
    assert codec.decode(step.response_ids) == TEXT

"""The dictionary of a word-level tokenizer gives the ids and the texts that the tokenizer gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from declutch.agent.codec import Codec
from declutch.agent.words import word_tokens
from declutch.cold_start.tiny import train_tokenizer
from declutch.envs.alfworld.wording import HOUSEHOLD

WORDS = ["go to cabinet 12", "task : put a mug in the fridge", "you see : ( nothing ) - well"]
TOKENIZER = train_tokenizer(WORDS)
FOUND = word_tokens(TOKENIZER)
assert FOUND is not None
PIECES = st.sampled_from(
    [
        *("go", "Mug", "cabinet", "12", "x", " ", "  ", "\n", "\t", "\x1c", ".", "<", ">", "</"),
        *("_", "-", "<think>", "</think>", "<Action>", "<action>", "\\boxed{1}", "\\boxed"),
        *("<eos>", "<unk>"),
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=30))
def test_ids_are_those_of_the_tokenizer(text):
    found = FOUND.encode(text)
    assert (found is None) == (not text.isascii())
    assert found in (None, TOKENIZER.encode(text, add_special_tokens=False))


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=20))
def test_texts_are_those_of_the_tokenizer(ids):
    assert FOUND.decode(ids) == TOKENIZER.decode(ids, skip_special_tokens=False)


def test_an_id_beyond_the_vocabulary_is_left_to_the_tokenizer():
    assert FOUND.decode([len(TOKENIZER)]) is None


def test_the_codec_goes_by_it():
    codec = Codec(TOKENIZER, "compact", HOUSEHOLD)
    text = "Task : put the mug<think>go"
    ids = codec.encode_prompt(text)
    assert ids.tolist() == TOKENIZER.encode(text, add_special_tokens=False)
    assert codec.decode(ids).endswith("put the mug <think> go")
    assert codec.decode(torch.tensor([len(TOKENIZER)])).endswith(TOKENIZER.decode([len(TOKENIZER)]))


def spaced():
    made = train_tokenizer(WORDS)
    made.add_tokens([AddedToken("cup", lstrip=True, normalized=False)])
    return made


def cleaned():
    made = train_tokenizer(WORDS)
    made.clean_up_tokenization_spaces = True
    return made


def cut():
    made = train_tokenizer(WORDS)
    made.backend_tokenizer.enable_truncation(4)
    return made


@pytest.mark.parametrize("make", [spaced, cleaned, cut, object])
def test_a_tokenizer_that_does_more_is_asked_itself(make):
    assert word_tokens(make()) is None

"""A saved folder is a model that other programs load as it was saved."""

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from declutch.cold_start.tiny import init_tiny
from declutch.config.policy import ModelConfig, TinyConfig
from declutch.ground.errors import UserError
from declutch.models.load import load_model
from declutch.models.save import save_model

TEXTS = ("task clean mug : go to cabinet 1", "you see nothing, a mug 2 and the garbagecan.")


def test_plain_transformers_load_the_tokenizer_of_a_tiny_model_as_it_is_stored(tmp_path):
    """A Qwen2's own tokenizer would split "clean" into characters that are no words here."""
    config = TinyConfig(hidden_size=16, intermediate_size=16, num_layers=1, num_heads=2)
    model, tokenizer = init_tiny(tmp_path / "tiny", TEXTS, config, seed=0)
    loaded, own = load_model(tmp_path / "tiny", ModelConfig())
    again = save_model(tmp_path / "again", loaded, own, {})
    for folder in (tmp_path / "tiny", again):
        for trusted in ({}, {"trust_remote_code": False}):
            plain = AutoTokenizer.from_pretrained(folder, **trusted)
            for text in TEXTS:
                assert plain.encode(text) == tokenizer.encode(text)
                assert tokenizer.unk_token_id not in plain.encode(text)
            assert (plain.pad_token_id, plain.eos_token_id) == (0, 2)
        weights = AutoModelForCausalLM.from_pretrained(folder).state_dict()
        assert all((weights[name] == value).all() for name, value in model.state_dict().items())


class Nothing:
    """A model that has nothing to save."""

    def save_pretrained(self, folder):
        (folder / "config.json").write_text("{}")


class FullDisk:
    """A tokenizer that finds the disk full; tokenizers says so by a plain `Exception`."""

    def save_pretrained(self, folder):
        raise Exception("No space left on device (os error 28)")


def test_a_disk_that_is_full_for_the_tokenizer_is_one_message(tmp_path):
    with pytest.raises(UserError, match=r"cannot write the model folder .*: No space left"):
        save_model(tmp_path / "model", Nothing(), FullDisk(), {})
    assert list(tmp_path.iterdir()) == []

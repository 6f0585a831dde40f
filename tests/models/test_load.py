"""A model folder is loaded whole and as what it is, or refused by name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model
from transformers import BertConfig, BertLMHeadModel

from declutch.cold_start.tiny import train_tokenizer
from declutch.config.policy import ModelConfig
from declutch.ground.errors import UserError
from declutch.models import load
from declutch.models.load import load_model, set_threads
from declutch.models.precision import compute_dtype


@pytest.fixture
def folder(tmp_path):
    """A whole model folder; `weights(change)` rewrites its tensors."""
    tiny_model("qwen2", 40).save_pretrained(tmp_path)
    train_tokenizer(["go to desk"]).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, change):
    path = folder / "model.safetensors"
    tensors = change(load_file(path))
    save_file(tensors, path, metadata={"format": "pt"})


def test_missing_weights_are_an_error(folder):
    rewrite(folder, lambda tensors: dict(list(tensors.items())[:10]))
    with pytest.raises(
        UserError, match=r"lacks \d+ of the model.s weights, the first of them model"
    ):
        load_model(folder, ModelConfig(device="cpu"))


def test_weights_under_other_names_are_an_error(folder):
    rewrite(folder, lambda tensors: {f"base_model.{k}": v for k, v in tensors.items()})
    with pytest.raises(UserError, match=r"lacks .* \(it holds base_model.model"):
        load_model(folder, ModelConfig(device="cpu"))


def test_weights_of_another_shape_are_an_error(folder):
    name = "model.layers.0.mlp.up_proj.weight"
    rewrite(folder, lambda tensors: {**tensors, name: torch.zeros(3, 3)})
    with pytest.raises(UserError, match=r"1 of the model.* have another shape.*up_proj"):
        load_model(folder, ModelConfig(device="cpu"))


def test_a_tied_read_out_is_not_missing(folder):
    assert not any("lm_head" in name for name in load_file(folder / "model.safetensors"))
    load_model(folder, ModelConfig(device="cpu"))


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_single_precision_and_the_setting_is_the_arithmetic(folder, stored, dtype):
    tiny_model("qwen2", 40).to(stored).save_pretrained(folder)
    model, _ = load_model(folder, ModelConfig(device="cpu", dtype=dtype))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert compute_dtype(model) == getattr(torch, dtype)


def test_a_model_that_looks_ahead_is_refused_by_name(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertLMHeadModel(BertConfig(vocab_size=40, intermediate_size=24, **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    train_tokenizer(["go to desk"]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"BertLMHeadModel is no causal language model"):
        load_model(tmp_path, ModelConfig(device="cpu"))


def test_an_adapter_without_a_model_says_what_is_missing(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(UserError, match=r"base_model_name_or_path|declutch\[lora\]"):
        load_model(tmp_path, ModelConfig(device="cpu"))


def test_an_adapter_is_merged_into_its_model(folder, tmp_path_factory):
    peft = pytest.importorskip("peft")
    plain, _ = load_model(folder, ModelConfig(device="cpu"))
    adapted, _ = load_model(folder, ModelConfig(device="cpu"))
    settings = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    wrapped = peft.get_peft_model(adapted, settings)
    wrapped.peft_config["default"].base_model_name_or_path = str(folder)
    adapter = tmp_path_factory.mktemp("adapter")
    wrapped.save_pretrained(adapter)
    tokens = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        expected = wrapped.eval()(input_ids=tokens).logits
        merged, tokenizer = load_model(adapter, ModelConfig(device="cpu"))
        assert type(merged) is type(plain)
        torch.testing.assert_close(merged(input_ids=tokens).logits, expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(plain(input_ids=tokens).logits, expected)
    assert tokenizer.eos_token == "<eos>"


@pytest.mark.parametrize(
    ("threads", "small_model", "chosen"), [(None, 10**9, 1), (None, 10, 3), (2, 10**9, 2)]
)
def test_a_small_model_is_computed_by_one_thread(monkeypatch, threads, small_model, chosen):
    before = torch.get_num_threads()
    monkeypatch.setattr(load, "SMALL_MODEL", small_model)
    try:
        torch.set_num_threads(3)
        set_threads(threads, tiny_model("qwen2", 20))
        assert torch.get_num_threads() == chosen
    finally:
        torch.set_num_threads(before)

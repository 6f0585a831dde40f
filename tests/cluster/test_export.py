"""What verl exports of a cluster's model, made a plain Hugging Face folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from declutch.cluster.export import INDEX, finish_export
from declutch.ground.errors import UserError

PROJECTION = "model.layers.0.mlp.up_proj"
WRAPPED = f"base_model.model.{PROJECTION}"


def export(folder: Path, files: dict[str, dict[str, torch.Tensor]], is_tied: bool = True) -> Path:
    """A folder as verl writes it, which says bfloat16 of any model."""
    config = {"tie_word_embeddings": is_tied, "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    for name, tensors in files.items():
        save_file(tensors, folder / name)
    return folder


def with_adapter() -> dict[str, torch.Tensor]:
    return {
        f"{WRAPPED}.base_layer.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        f"{WRAPPED}.base_layer.bias": torch.tensor([5.0, 6.0]),
        f"{WRAPPED}.lora_A.default.weight": torch.tensor([[1.0, -1.0]]),
        f"{WRAPPED}.lora_B.default.weight": torch.tensor([[10.0], [20.0]]),
    }


def test_adapters_are_added_to_their_weights_under_plain_names(tmp_path: Path) -> None:
    ends = {
        "base_model.model.model.embed_tokens.weight": torch.ones(3, 2),
        "base_model.model.lm_head.weight": torch.ones(3, 2),
    }
    finish_export(export(tmp_path, {"model.safetensors": with_adapter() | ends}), 0.5)
    found = load_file(tmp_path / "model.safetensors")
    # A tied output layer is the embedding, and is not written twice.
    names = {f"{PROJECTION}.weight", f"{PROJECTION}.bias", "model.embed_tokens.weight"}
    assert found.keys() == names
    # (10, 20) times (1, -1), halved, and added.
    assert found[f"{PROJECTION}.weight"].tolist() == [[6.0, -3.0], [13.0, -6.0]]
    assert found[f"{PROJECTION}.bias"].tolist() == [5.0, 6.0]
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"


def test_an_output_layer_of_its_own_stays(tmp_path: Path) -> None:
    head = {"base_model.model.lm_head.weight": torch.ones(3, 2)}
    folder = export(tmp_path, {"model.safetensors": with_adapter() | head}, is_tied=False)
    finish_export(folder, 0.5)
    assert "lm_head.weight" in load_file(tmp_path / "model.safetensors")


def test_an_adapter_in_another_file_than_its_weight_is_found(tmp_path: Path) -> None:
    tensors = with_adapter()
    names = sorted(tensors)
    files = {
        "model-00001-of-00002.safetensors": {name: tensors[name] for name in names[:2]},
        "model-00002-of-00002.safetensors": {name: tensors[name] for name in names[2:]},
    }
    folder = export(tmp_path, files)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {}}))
    finish_export(folder, 1.0)
    first, second = (load_file(folder / name) for name in sorted(files))
    assert first[f"{PROJECTION}.weight"].tolist() == [[11.0, -8.0], [23.0, -16.0]]
    assert second == {}
    places = json.loads((folder / INDEX).read_text())["weight_map"]
    assert places == dict.fromkeys(first, "model-00001-of-00002.safetensors")


def test_a_first_file_may_have_nothing_left_and_a_weight_has_to_have_its_adapter(
    tmp_path: Path,
) -> None:
    tensors = with_adapter()
    adapter = {name: tensors.pop(name) for name in sorted(tensors) if ".lora_" in name}
    files = {"model-1.safetensors": adapter, "model-2.safetensors": tensors}
    finish_export(export(tmp_path, files), 1.0)
    assert load_file(tmp_path / "model-1.safetensors") == {}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", *sorted(files)]
    (tmp_path / "alone").mkdir()
    with pytest.raises(UserError, match=f"no adapter of {WRAPPED}"):
        finish_export(export(tmp_path / "alone", {"model.safetensors": tensors}), 1.0)


def test_an_adapter_without_a_weight_is_an_error(tmp_path: Path) -> None:
    tensors = with_adapter()
    del tensors[f"{WRAPPED}.base_layer.weight"]
    folder = export(tmp_path, {"model.safetensors": tensors})
    with pytest.raises(UserError, match="belongs to no weight"):
        finish_export(folder, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_without_adapters_is_said_to_be_what_it_is(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    weights = {"model.norm.weight": torch.ones(2, dtype=dtype)}
    finish_export(export(tmp_path, {"model.safetensors": weights}), None)
    said = json.loads((tmp_path / "config.json").read_text())["dtype"]
    assert said == str(dtype).removeprefix("torch.")
    assert torch.equal(
        load_file(tmp_path / "model.safetensors")["model.norm.weight"], weights["model.norm.weight"]
    )

"""Convert a GGUF file to a model folder: weights dequantised, with tokenizer and chat template."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from declutch.ground.errors import UserError
from declutch.ground.extras import install_command
from declutch.models.save import save_model


def convert_gguf(source: str, out: Path) -> int:
    """Read the weights of a GGUF file, dequantised, into a Hugging Face model folder.

    Args:
        source: a .gguf file, or the name of an installed Python package that holds one.
    Returns:
        Number of parameters.
    Raises:
        UserError: no such file, one that cannot be read, or `out` cannot be written.
    """
    path = find_gguf(source)
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        quantised = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32
        )
    # Both libraries raise many types for a file they cannot read, or for lacking each other.
    except Exception as error:
        raise UserError(
            f"{path} cannot be read ({str(error).strip() or repr(error)}); "
            f"`{install_command('gguf')}` brings what reading needs, and the "
            "architecture must be one that transformers reads from GGUF"
        ) from None
    config = quantised.config
    # A model that says it was quantised would be refused as one that cannot be saved or trained.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    save_model(out, model, tokenizer, {})
    return int(model.num_parameters())


def find_gguf(source: str) -> Path:
    """Find the GGUF file that a path or the name of an installed package means.

    Raises:
        UserError: neither, or a package with none or several.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    package = source.replace("-", "_")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{source!r} is neither a GGUF file nor an installed package")
    found = sorted(p for root in spec.submodule_search_locations for p in Path(root).glob("*.gguf"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise UserError(f"the package {source!r} holds not one GGUF file but {names}; give a path")
    return found[0]

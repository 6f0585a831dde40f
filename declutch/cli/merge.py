"""`declutch merge`: LoRA adapters written into the model that they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import grouped
from declutch.cli.terminal import console
from declutch.ground.errors import UserError


@grouped
def merge_command(
    adapter: Annotated[
        Path, typer.Argument(help="A folder of LoRA adapters, such as a checkpoint's.")
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write the model to.")],
) -> None:
    """Write the model with the LoRA adapters of ADAPTER to the folder OUT, which is then whole."""
    from declutch.config.policy import ModelConfig
    from declutch.models.adapters import is_adapter
    from declutch.models.load import load_model
    from declutch.models.save import save_model

    if not is_adapter(adapter):
        raise UserError(f"{adapter} holds no adapter (adapter_config.json): it is merged already")
    model, tokenizer = load_model(adapter, ModelConfig(device="cpu"))
    save_model(out, model, tokenizer, {})
    console.print(f"{model.num_parameters() / 1e6:.1f} M parameters written to {out}")

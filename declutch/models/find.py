"""Find out at once whether a model's folder or its name on the hub stands for something.

Loading tells the same, but late: the libraries ask a hub that cannot be reached again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from declutch.ground.errors import UserError, error_reason

HUB_SECONDS = 5.0
"""How long the hub is given to say whether it has a model."""


def find_model(path: str, ask: Callable[[str], str] | None = None) -> None:
    """Find the model that a path or a hub name stands for, before anything else takes its time.

    Args:
        path: as a command or the setting model.path names it.
        ask: asks the hub about a name, for tests; the reason why it is no model, "" for one.
    Raises:
        UserError: no such folder, one without a model, or no such name on the hub; or the hub does
            not answer and has never been asked for the model before.
    """
    if not path:
        raise UserError(
            "model.path is empty: give a Hugging Face model folder or hub name, or make a tiny "
            "model with `declutch init-tiny`"
        )
    folder = Path(path)
    if folder.is_dir():
        if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise UserError(
                f"{path} holds no model, no config.json{_nearest_inside(folder)}; give a folder "
                "that `declutch init-tiny`, `declutch sft` or `declutch train` wrote"
            )
        return
    if folder.exists():
        raise UserError(f"{path} is a file; give the folder of a model or a hub name")
    if looks_like_folder(path):
        raise UserError(f"there is no folder {path}{_nearest(folder)}")
    if _is_kept(path):
        return
    problem = (ask or ask_hub)(path)
    if problem:
        raise UserError(
            f"there is no folder {path}{_nearest(folder)}, and no model of that name could be "
            f"found on the Hugging Face hub ({problem})"
        )


def looks_like_folder(path: str) -> bool:
    """Whether a model's path cannot be a hub name, or begins with a folder that is there."""
    parts = Path(path).parts
    return (
        Path(path).is_absolute()
        or path.startswith((".", "~"))
        or path.endswith("/")
        or len(parts) != path.count("/") + 1
        or len(parts) > 2
        or (len(parts) == 2 and Path(parts[0]).is_dir())
    )


def ask_hub(name: str) -> str:
    """Ask the hub once whether it has a model: the reason why not, "" where it has."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids asking it, and the model is not in its cache"
    try:
        HfApi().model_info(name, timeout=HUB_SECONDS)
    except GatedRepoError:
        return ""  # It is there, and loading says how to get access to it.
    except RepositoryNotFoundError:
        return "it has none, or shows it to others only: `hf auth login`"
    except HFValidationError:
        return "it has no names like that"
    except HfHubHTTPError:
        return ""  # Anything else, such as too many requests, is for loading to find out.
    # Which errors stand for a host that is away depends on the version of the library.
    except Exception as error:
        return f"it does not answer: {error_reason(error)}"
    return ""


def _is_kept(name: str) -> bool:
    """Whether the hub's cache on this machine holds the model."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False


def _nearest(folder: Path) -> str:
    """A hint at the folder beside it that is called most like it."""
    try:
        names = [each.name for each in folder.parent.iterdir() if each.is_dir()]
    except OSError:
        return f", nor a folder {folder.parent}"
    near = get_close_matches(folder.name, names, 1)
    if near:
        return f"; did you mean {folder.parent / near[0]}?"
    return ""


def _nearest_inside(folder: Path) -> str:
    """A hint at the newest checkpoint, where the folder is that of a run."""
    models = sorted(folder.glob("*/*/config.json"))
    if models:
        return f"; did you mean its checkpoint {models[-1].parent}?"
    return ""

"""Names of a user's own code in settings, "package.module:NAME", and how they are imported."""

from __future__ import annotations

import importlib
import os
import sys
from types import FunctionType, ModuleType
from typing import Any


def is_dotted(text: str) -> bool:
    """Whether a setting is a dotted name, "package.module:NAME", of code of the user's own."""
    module, separator, name = text.partition(":")
    return bool(separator) and all(part.isidentifier() for part in (*module.split("."), name))


def import_dotted(text: str) -> Any:
    """Import the object that a setting's dotted name, "package.module:NAME", means.

    The folder that the command was started in is searched last.

    Raises:
        ValueError: the module cannot be imported, or has nothing of that name.
    """
    module_name, _, name = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"{module_name!r} cannot be imported ({error}); run from the folder that holds "
            f"{module_name.partition('.')[0]!r}, or install it"
        ) from error
    if not hasattr(module, name):
        known = [each for each, value in vars(module).items() if _is_own(module, each, value)]
        raise ValueError(
            f"{module_name!r} has no {name!r}; it has {', '.join(sorted(known)) or 'nothing'}"
        )
    return getattr(module, name)


def _is_own(module: ModuleType, name: str, value: object) -> bool:
    """Whether a public name of a module is defined there, as far as that can be told."""
    is_imported = isinstance(value, type | FunctionType) and value.__module__ != module.__name__
    return not (name.startswith("_") or isinstance(value, ModuleType) or is_imported)

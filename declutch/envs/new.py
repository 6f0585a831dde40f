"""A new environment of the user's own to start from: `declutch envs new` writes its folder.

The environment that is written is a whole one that trains, to be changed step by step.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from string import Template

from declutch.ground.errors import UserError
from declutch.ground.files import write_atomically

STARTER = Path(__file__).parent / "starter"
FILES = {
    "{name}.py": "environment.txt",
    "{name}_words.py": "words.txt",
    "config.yaml": "config.txt",
    "test_{name}.py": "test.txt",
}
"""What a new environment's folder holds, and the template of each file."""


def write_environment(folder: Path) -> tuple[Path, ...]:
    """Write a new environment of the user's own into a folder, whose name is the environment's.

    Returns:
        the files: the environment with its expert, its words, its settings, a test.
    Raises:
        UserError: the name can be no module's, or a file is there already.
    """
    name = folder.name
    texts = {
        folder / file.format(name=name): render_file(template, name)
        for file, template in FILES.items()
    }
    there = [path for path in texts if path.exists()]
    if there:
        raise UserError(f"{there[0]} is there already; give another name, or remove it")
    _check_name(name)
    for path, text in texts.items():
        write_atomically(path, text)
    return tuple(texts)


def render_file(template: str, name: str) -> str:
    """Render a file of a new environment: its template with the names of module and class."""
    text = (STARTER / template).read_text(encoding="utf-8")
    return Template(text).substitute(name=name, Class=class_name(name))


def class_name(name: str) -> str:
    """The name of a new environment's class, such as TallTower for tall_tower."""
    return "".join(part.capitalize() for part in name.split("_"))


def _check_name(name: str) -> None:
    if not (name.isidentifier() and name == name.lower() and class_name(name)):
        raise UserError(
            f"{name!r} can be no module's name: use lower-case letters, digits and _, such as "
            "tall_tower"
        )
    if importlib.util.find_spec(name) is not None:
        raise UserError(
            f"there is a module {name!r} already, which would be imported in its place; give "
            "another name"
        )

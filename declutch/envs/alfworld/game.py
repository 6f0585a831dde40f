"""From an official `game.tw-pddl` file to a compiled `World`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from declutch.envs.alfworld.compile import build_world
from declutch.envs.alfworld.domain import OFFICIAL_DOMAIN, fingerprint_domain
from declutch.envs.alfworld.game_cache import entry_path, read_entry, write_entry
from declutch.envs.alfworld.grammar import OFFICIAL_GRAMMAR, fingerprint_grammar, split_task
from declutch.envs.alfworld.pddl import MALFORMED, GameFileError
from declutch.envs.alfworld.problem import parse_problem
from declutch.envs.alfworld.world import World
from declutch.ground.contents import parse_json
from declutch.ground.errors import UserError


def load_world(path: Path, cache_dir: Path | None = None) -> World:
    """Load a game of ALFWorld as a `World`: from its file, or compiled before.

    Args:
        path: an official `game.tw-pddl` file, or one that states the same mechanics.
        cache_dir: where compiled games are kept, by content; None for no cache. Any number of
            processes may share it, and a damaged entry is made anew.
    Raises:
        UserError: the file is missing, truncated, no game, or states other mechanics; or the cache
            cannot be written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the game file {path}: {error.strerror}") from error
    if cache_dir is None:
        return _compile(content, path)
    entry = entry_path(content, cache_dir)
    cached = read_entry(entry)
    if cached is not None:
        return cached
    world = _compile(content, path)
    write_entry(entry, world)
    return world


def _compile(content: bytes, path: Path) -> World:
    try:
        data = parse_json(content)
    except ValueError as error:
        raise UserError(
            f"the game file {path} is truncated or no JSON ({error}); download or generate it anew"
        ) from error
    try:
        return compile_game(data)
    except (GameFileError, *MALFORMED) as error:
        raise UserError(
            f"the game file {path} cannot be played by this engine: {error}; "
            "the reference engine (extra 'textworld') may be able to"
        ) from error


def compile_game(data: Any) -> World:
    """Read an ALFWorld game from its file's content: mechanics checked, then compiled.

    Args:
        data: the JSON of a `game.tw-pddl` file.

    Raises:
        GameFileError: says what is wrong with the content.
    """
    texts = ("pddl_domain", "grammar", "pddl_problem")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in texts):
        raise GameFileError(f"it is not an object with the texts {', '.join(texts)}")
    task, grammar = split_task(data["grammar"])
    _check_mechanics(data["pddl_domain"], grammar)
    problem = parse_problem(data["pddl_problem"])
    walkthrough = data.get("walkthrough") or []
    if not isinstance(walkthrough, list):
        raise GameFileError("its walkthrough is not a list of commands")
    return build_world(problem, task, tuple(map(str, walkthrough)))


@lru_cache(maxsize=4)
def _check_mechanics(domain: str, grammar: str) -> None:
    """Refuse mechanics that are not the official ones; remembered, as games repeat the texts."""
    if fingerprint_domain(domain) != OFFICIAL_DOMAIN:
        raise GameFileError("its PDDL domain states other mechanics than ALFWorld's (json_2.1.1)")
    if fingerprint_grammar(grammar) != OFFICIAL_GRAMMAR:
        raise GameFileError("its grammar words answers otherwise than ALFWorld's (json_2.1.1)")


def forget_mechanics() -> None:
    """Forget which ALFWorld game files were found official, to measure a first game again."""
    _check_mechanics.cache_clear()

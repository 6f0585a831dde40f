"""Generated households: games in ALFWorld's format and of its six task types, from a seed.

The layout is the official one, `<folder>/json_2.1.1/<split>/<type>-<object>-None-<goal>-<scene>/
<trial>/game.tw-pddl`, so that everything which reads the real games reads these. `train` and
`valid_seen` share their scenes and differ in what lies where; `valid_unseen` has scenes of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

from declutch.envs.alfworld.dynamics import apply_command, is_won, parse_command
from declutch.envs.alfworld.game import compile_game
from declutch.envs.households import rooms as rooms
from declutch.envs.households import tasks as tasks
from declutch.envs.households.domain import DOMAIN, grammar
from declutch.envs.households.game import Household, make_household
from declutch.envs.households.pddl import render_problem, walkthrough
from declutch.envs.households.scene import Scene, build_scene, pick, pick_weighted
from declutch.envs.households.wishes import wishes
from declutch.ground.errors import UserError

# Raise it whenever the same seed would give other games.
GENERATOR_VERSION: Final = 2
STAMP_FILE: Final = "households.json"
RELEASE: Final = "json_2.1.1"
GAME_FILE: Final = "game.tw-pddl"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class HouseholdCounts:
    """How many households to generate for each split; the six task types take turns.

    Attributes:
        train: games to learn from.
        valid_seen: other games in the scenes of `train`; the default leaves 468 to L0.
        valid_unseen: games in scenes that no other split has; the default leaves 468 to L1.
    """

    train: int = 1600
    valid_seen: int = 700
    valid_unseen: int = 700

    def __post_init__(self) -> None:
        """Raises UserError for a negative number or none at all."""
        for split, count in asdict(self).items():
            if count < 0:
                raise UserError(f"households cannot have {count} games in '{split}'; use 0 or up")
        if self.total == 0:
            raise UserError("households need at least one game; give a split a number above 0")

    @property
    def total(self) -> int:
        """Games in all splits together."""
        return self.train + self.valid_seen + self.valid_unseen


@dataclass(frozen=True)
class GameFile:
    """One household that the generator made, ready to be written as a game file.

    Attributes:
        name: its folder below json_2.1.1: split, task and scene, trial.
        content: what `game.tw-pddl` holds, as JSON data.
    """

    name: str
    content: dict[str, Any]


def scene_numbers(split: str) -> tuple[int, ...]:
    """The numbers of the scenes in which to generate the households of a split."""
    known = rooms.NUM_KNOWN_SCENES
    end = known + rooms.NUM_UNSEEN_SCENES
    span = range(known, end) if split == "valid_unseen" else range(known)
    return tuple(first + offset for first in rooms.FIRST_SCENE.values() for offset in span)


class _Scenes:
    """The scenes of one seed, each built once."""

    def __init__(self, seed: int) -> None:
        self.get = cache(lambda number: build_scene(seed, number))
        self.wishes = cache(lambda number, kind: wishes(self.get(number), kind))

    def draw(self, rng: Random, split: str, kind: str) -> Scene:
        """A scene of a split in which something of this task kind can be asked for."""
        numbers = scene_numbers(split)
        room = pick_weighted(rng, [(row.room, row.share) for row in tasks.task_rows(kind)])
        rooms_now = [n for n in numbers if self.get(n).room == room and self.wishes(n, kind)]
        able = rooms_now or [n for n in numbers if self.wishes(n, kind)]
        if not able:
            raise RuntimeError(f"no scene of '{split}' has what a task '{kind}' needs")
        scene: Scene = self.get(pick(rng, able))
        return scene


def generate_games(seed: int, split: str, count: int) -> Iterator[GameFile]:
    """Generate the first households of a split; none depends on how many are asked for.

    Raises:
        RuntimeError: a game that its own walkthrough does not win (a defect of the generator).
    """
    scenes = _Scenes(seed)
    for index in range(count):
        kind = tasks.TASK_KINDS[index % len(tasks.TASK_KINDS)]
        rng = Random(f"{seed}/{split}/{index}")
        scene = scenes.draw(rng, split, kind)
        wish = pick_weighted(rng, scenes.wishes(scene.number, kind))
        house = make_household(scene, wish, rng)
        yield _game_file(house, split, f"trial_S{seed}_{index:05d}")


def _game_file(house: Household, split: str, trial: str) -> GameFile:
    wish = house.wish
    folder = f"{wish.kind}-{wish.object_kind}-None-{wish.goal_kind}-{house.scene.number}"
    content = {
        "pddl_domain": DOMAIN,
        "grammar": grammar(house.sentence),
        "pddl_problem": render_problem(house, trial),
        "solvable": True,
        "walkthrough": list(walkthrough(house)),
    }
    name = f"{split}/{folder}/{trial}"
    if not _wins(content):
        raise RuntimeError(f"the generated game {name} is not won by its own walkthrough")
    return GameFile(name, content)


def _wins(content: dict[str, Any]) -> bool:
    """The walkthrough wins with its last command, and not before."""
    world = compile_game(content)
    state = world.start
    for text in content["walkthrough"]:
        command = parse_command(world, text)
        if command is None or is_won(world, state):
            return False
        state = apply_command(world, state, command)
    return is_won(world, state)


def generate_households(
    out_dir: Path, seed: int, counts: HouseholdCounts, progress: Progress | None = None
) -> int:
    """Generate and write the households of a seed, unless the same ones are there already.

    The folder appears complete or not at all, so that any number of processes may ask for it.

    Args:
        out_dir: receives json_2.1.1 and a stamp; must be absent, empty, or the result of the same
            call before.
        seed: equal seeds and counts give the same bytes.
        counts: games in each split.
        progress: called after each game with the number of games written and their total.
    Returns:
        the number of games in the folder.
    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    stamp = _stamp(seed, counts)
    if _is_complete(out_dir, stamp, counts):
        return counts.total
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
        try:
            _write_games(temporary, seed, counts, progress)
            (temporary / STAMP_FILE).write_text(stamp, encoding="utf-8")
            temporary.chmod(0o755)
            _publish(temporary, out_dir, stamp, counts)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write the households to {out_dir}: {error.strerror or error}; free some space "
            "there or choose another folder"
        ) from error
    return counts.total


def _stamp(seed: int, counts: HouseholdCounts) -> str:
    facts = {"generator": GENERATOR_VERSION, "seed": seed, **asdict(counts)}
    return json.dumps(facts, indent=1) + "\n"


def _is_complete(out_dir: Path, stamp: str, counts: HouseholdCounts) -> bool:
    """The folder holds just these games. Raises UserError where it holds anything else."""
    if not out_dir.exists():
        return False
    try:
        if not out_dir.is_dir():
            raise UserError(f"the households' folder {out_dir} is a file; choose another folder")
        path = out_dir / STAMP_FILE
        if not path.exists() and not any(out_dir.iterdir()):
            return False
        is_same = path.exists() and path.read_bytes() == stamp.encode()
        found = sum(1 for _ in (out_dir / RELEASE).glob(f"*/*/*/{GAME_FILE}"))
    except OSError as error:
        raise UserError(f"cannot read the folder of households {out_dir}: {error}") from error
    if not is_same or found != counts.total:
        state = "other files or games" if not is_same else f"{found} of {counts.total} games"
        raise UserError(
            f"the households' folder {out_dir} holds {state}; delete it or choose another folder"
        )
    return True


def _write_games(
    folder: Path, seed: int, counts: HouseholdCounts, progress: Progress | None
) -> None:
    done = 0
    for split, count in asdict(counts).items():
        for game in generate_games(seed, split, count):
            path = folder / RELEASE / game.name / GAME_FILE
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(game.content), encoding="utf-8")
            done += 1
            if progress is not None:
                progress(done, counts.total)


def _publish(temporary: Path, out_dir: Path, stamp: str, counts: HouseholdCounts) -> None:
    """Give the finished folder its name; another process may have been faster with the same."""
    try:
        os.rename(temporary, out_dir)
    except OSError:
        if not _is_complete(out_dir, stamp, counts):
            raise


def ensure_households(
    cache_dir: Path,
    seed: int = 0,
    counts: HouseholdCounts | None = None,
    progress: Progress | None = None,
) -> Path:
    """Generate these households below the cache, if need be, and give their data folder.

    Args:
        cache_dir: may hold the households of many seeds and counts.
        seed: seed of scenes and games.
        counts: games in each split; None for the defaults.
        progress: as for `generate_households`.
    Returns:
        a folder that `AlfworldSuite(folder, name="households")` plays.
    Raises:
        UserError: the folder cannot be written or was tampered with.
    """
    counts = counts or HouseholdCounts()
    folder = households_folder(cache_dir, seed, counts)
    generate_households(folder, seed, counts, progress)
    return folder


def households_folder(cache_dir: Path, seed: int, counts: HouseholdCounts) -> Path:
    """The folder into which to generate the households of a seed, if they are not there yet."""
    sizes = f"{counts.train}-{counts.valid_seen}-{counts.valid_unseen}"
    return cache_dir / f"households-v{GENERATOR_VERSION}-seed{seed}-{sizes}"


__all__ = [
    "GENERATOR_VERSION",
    "GameFile",
    "HouseholdCounts",
    "ensure_households",
    "generate_games",
    "generate_households",
    "households_folder",
    "scene_numbers",
]

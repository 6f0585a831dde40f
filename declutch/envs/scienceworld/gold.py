"""Gold paths: the simulator's own solutions, said in actions that are listed as valid.

The simulator searches them from the true state. Their words are often none of the listed ones, and
some of their actions do nothing: those are said anew or left out, and what is left is played.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from declutch.envs.scienceworld.simulator import SIMPLIFICATION, Reply, Simulator
from declutch.envs.scienceworld.spelling import spell_action
from declutch.envs.scienceworld.tasks import variation_of
from declutch.ground.contents import parse_record
from declutch.ground.files import path_below, write_atomically
from declutch.records import TaskId

FORMAT = 1
FULL_SCORE = 100
JOURNEYS = ("go ", "teleport ")
WALK, TELEPORT = "go to ", "teleport to "
_WAIT = "wait1"
_REFUSALS = ("No known action", "Ambiguous request")


@dataclass(frozen=True)
class GoldPath:
    """A gold path of ScienceWorld: the simulator's own solution of a task, said in valid actions.

    Attributes:
        actions: from the start of an episode, each valid in its place; they win. () for none.
        num_gold: number of actions in the simulator's own words.
        score: in percent, that playing those ends with.
        error: why there is no solution, "" where there is one.
    """

    actions: tuple[str, ...]
    num_gold: int
    score: int
    error: str = ""

    @property
    def is_solved(self) -> bool:
        """Whether there is a solution."""
        return bool(self.actions)


def search_gold(simulator: Simulator, task: TaskId) -> GoldPath:
    """Search the gold path of a ScienceWorld task and say it in valid actions.

    A journey through several rooms becomes one teleportation, and actions that do nothing are left
    out. Where the shorter path does not win, since something in the world takes its time, journeys
    are kept; where that does not help either, so is the time of the actions that do nothing.

    Raises:
        SimulatorError: the simulator failed.
    """
    simulator.load(task.kind, variation_of(task), with_gold=True)
    gold = simulator.gold_path()
    for actions, is_slow in ((_merge_journeys(gold), False), (gold, False), (gold, True)):
        said, reply = _say(simulator, task, actions, is_slow)
        if reply.score == FULL_SCORE:
            return GoldPath(said, len(gold), FULL_SCORE)
    score = play(simulator, task, gold).score
    error = "not in valid actions" if score == FULL_SCORE else f"ends with score {score}"
    return GoldPath((), len(gold), score, error)


def play(simulator: Simulator, task: TaskId, actions: Sequence[str]) -> Reply:
    """Play a ScienceWorld gold path, or other actions, as an episode to its end; the last reply."""
    reply = _start(simulator, task)
    for action in actions:
        if reply.is_done:
            break
        reply = simulator.step(action)
    return reply


def wins(simulator: Simulator, task: TaskId, played: Sequence[str], rest: Sequence[str]) -> bool:
    """Whether the rest of a ScienceWorld gold path wins after others, all of it understood."""
    reply = play(simulator, task, played)
    for action in rest:
        if reply.is_done:
            break
        reply = simulator.step(action)
        if reply.text.startswith(_REFUSALS):
            return False
    return reply.score == FULL_SCORE


class GoldCache:
    """Gold paths of ScienceWorld on disk, a file each, which any number of processes may share.

    Args:
        folder: made when the first path is written; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        version = metadata.version("scienceworld")
        name = f"gold-v{FORMAT}-{version}-{SIMPLIFICATION}"
        self._folder = None if folder is None else folder / name

    def read(self, task: TaskId) -> GoldPath | None:
        """The path of a task; None where there is none, or its file is damaged."""
        if self._folder is None:
            return None
        try:
            return parse_record(GoldPath, _file(self._folder, task).read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, task: TaskId, gold: GoldPath) -> None:
        """Keep a path. Raises UserError where the folder cannot be written."""
        if self._folder is None:
            return
        write_atomically(
            _file(self._folder, task),
            json.dumps(asdict(gold)) + "\n",
            f"gold paths to {self._folder}",
            "free some space, or set env.cache_dir to another folder",
        )


def _file(folder: Path, task: TaskId) -> Path:
    return path_below(folder, task.kind) / f"{variation_of(task)}.json"


def _start(simulator: Simulator, task: TaskId) -> Reply:
    """As an episode starts, which looks around first."""
    simulator.load(task.kind, variation_of(task))
    return simulator.step("look around")


def _say(
    simulator: Simulator, task: TaskId, actions: Sequence[str], is_slow: bool
) -> tuple[tuple[str, ...], Reply]:
    """Play `actions` in valid ones; what does nothing is left out, or waited for if `is_slow`."""
    reply, said = _start(simulator, task), []
    for action in actions:
        if reply.is_done:
            break
        valid = spell_action(action, simulator.choices(), simulator.names())
        if valid is None and not is_slow:
            continue
        said.append(valid or _WAIT)
        reply = simulator.step(said[-1])
    return tuple(said), reply


def _merge_journeys(actions: Sequence[str]) -> tuple[str, ...]:
    """Each run of walks, with the doors opened on its way, as one teleportation."""
    return tuple(_merged(actions))


def _merged(actions: Sequence[str]) -> Iterator[str]:
    place = ""
    for action in actions:
        if action.startswith(WALK):
            place = action.removeprefix(WALK)
        elif not action.startswith("open door to "):
            if place:
                yield TELEPORT + place
            place = ""
            yield action
    if place:
        yield TELEPORT + place
